/* property.h: the properties of an interface of functions: one list for all uses.
 *
 * An interface's file lists its properties once, as a macro of rows:
 *
 *         #define MSIX_PROPERTIES(ROW)                                               \
 *                 ROW("Vectors", "q", FUNCTION_PROPERTY_MSIX_VECTORS, msix_vectors)  \
 *                 ROW("TableBar", "y", PROPERTY_CONSTANT, msix_table_bar)
 *
 * A row has the name, the D-Bus type, the FunctionProperty of its changes, and the value, which
 * PROPERTY_VALUE() or PROPERTY_MEMBER() defines. The list becomes rows of the vtable for sd-bus
 * by PROPERTY_VTABLE_ROW, and the row's `properties` in interface-table.c by PROPERTY_TABLE(); from
 * these come the signals, GetManagedObjects() and Describe(). */
#pragma once

#include "dbus/interfaces/value-writer.h"
#include "policy/property-set.h"

/* In the place of a FunctionProperty: the value never changes, or no signal reports a change. */
#define PROPERTY_CONSTANT _FUNCTION_PROPERTY_MAX
#define PROPERTY_UNTOLD   (_FUNCTION_PROPERTY_MAX + 1)

typedef struct InterfaceProperty {
        const char *name;
        const char *type;
        int changes; /* a FunctionProperty, or one of the above */
        /* Writes the value that the function has now. Returns 0 or a negative errno. */
        int (*write)(ValueWriter *writer, const Function *function);
} InterfaceProperty;

/* sd-bus has called a getter for `reply`, which it sends by itself when all values are in it. */
void property_is_read(sd_bus *connection, sd_bus_message *reply);

/* The head of a property's getter, as sd-bus has it; `userdata` is that of the interface. Each has
 * the reply count as unread by its size (clients.h). */
#define GETTER_ARGUMENTS                                                                   \
        sd_bus *connection, const char *path, const char *interface, const char *property, \
                sd_bus_message *reply, void *userdata, sd_bus_error *error
#define INTERFACE_GETTER(getter)                                                               \
        static int getter##_append(GETTER_ARGUMENTS);                                          \
        static int getter(GETTER_ARGUMENTS) {                                                  \
                property_is_read(connection, reply);                                           \
                return getter##_append(connection, path, interface, property, reply, userdata, \
                                       error);                                                 \
        }                                                                                      \
        static int getter##_append(GETTER_ARGUMENTS)

/* The head of the function that writes the value `value` of `function` to `writer`, and the getter
 * for sd-bus. */
#define PROPERTY_VALUE(value)                                                       \
        static int value##_write(ValueWriter *writer, const Function *function);    \
        INTERFACE_GETTER(value##_get) {                                             \
                return value##_write(&(ValueWriter){ .message = reply }, userdata); \
        }                                                                           \
        static int value##_write(ValueWriter *writer, const Function *function)

/* The same of a value that is a member of Function; `write` is of value-writer.h. */
#define PROPERTY_MEMBER(value, write, member)           \
        PROPERTY_VALUE(value) {                         \
                return write(writer, function->member); \
        }

#define PROPERTY_FLAGS(changes)                                                   \
        ((changes) < _FUNCTION_PROPERTY_MAX ? SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE \
         : (changes) == PROPERTY_CONSTANT   ? SD_BUS_VTABLE_PROPERTY_CONST        \
                                            : 0)

#define PROPERTY_VTABLE_ROW(name, type, changes, value) \
        SD_BUS_PROPERTY(name, type, value##_get, 0, PROPERTY_FLAGS(changes)),
#define PROPERTY_TABLE_ROW(name, type, changes, value) { name, type, changes, value##_write },
/* clang-format off */
#define PROPERTY_TABLE(list) { list(PROPERTY_TABLE_ROW) { NULL } }
/* clang-format on */
