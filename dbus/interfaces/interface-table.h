/* interface-table.h: the one table of the D-Bus interfaces that the daemon exports.
 *
 * Owns the table. The export, the signals, the introspection, Describe(), the installed XML, the
 * manual page org.vfwarden1(5) and the tests come from it, so an interface that is missing here
 * exists nowhere. The contract of a row is in dbus/NAME.xml, but for that of
 * org.freedesktop.LogControl1, which is systemd's. */
#pragma once

#include "dbus/interfaces/property.h"
#include "policy/function.h"

#include <systemd/sd-bus.h>

typedef struct Interface {
        const char *name;
        /* The object that has it, userdata is the Bus; NULL: functions have it, userdata is the
         * Function. */
        const char *path;
        const sd_bus_vtable *vtable;
        /* With `path` NULL: the properties, the last without a name. NULL: only sd-bus reads
         * them. */
        const InterfaceProperty *properties;
        /* With `path` NULL: whether the function has it now; NULL: each function has it. */
        bool (*on_function)(const Function *function);
        /* The member of a function in Describe() that holds the properties; NULL: they are members
         * of the function itself. */
        const char *object;
} Interface;

/* The last has no name. On functions the order is that of the signals. */
extern const Interface bus_interfaces[];

#define interface_foreach(interface) \
        for (const Interface *interface = bus_interfaces; interface->name; interface++)

/* The row of that name, or NULL. */
const Interface *interface_find(const char *name);

/* Whether `function` has the interface now; false for an interface that is not on functions. */
bool interface_on_function(const Interface *interface, const Function *function);

/* The same of all as bits. */
unsigned interface_bit(const Interface *interface);
unsigned interfaces_on_function(const Function *function);

/* Whether `changes` has the change of the property, or of one of the interface. */
bool interface_property_changes(const InterfaceProperty *property, const PropertySet *changes);
bool interface_has_change(const Interface *interface, const PropertySet *changes);
