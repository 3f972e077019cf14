/* function-signals.h: the signals that say which functions there are, and what changes of them.
 *
 * Owns nothing; reads the table of interfaces. What sd-bus sends for it (as by
 * sd_bus_emit_object_added()) is the same, but sd-bus looks for each object through all tables of
 * methods and through all parts of its path: half of the daemon's work when hundreds of VFs come.
 * `destination` is one client, NULL is all. Each returns 0 or a negative errno. */
#pragma once

#include "dbus/interfaces/interface-table.h"

#define OBJECT_MANAGER "org.freedesktop.DBus.ObjectManager"

/* What a signal is about. */
typedef enum ObjectScope {
        OBJECT_SCOPE_WHOLE,      /* the object: D-Bus's standard interfaces are named, too */
        OBJECT_SCOPE_INTERFACES, /* interfaces of an object that is there before and after */
} ObjectScope;

/* `function` has `interfaces` (bits) from now on. */
int function_signal_added(sd_bus *connection, const char *destination, const Function *function,
                          unsigned interfaces, ObjectScope scope);

/* The function at `key` has them no more. */
int function_signal_removed(sd_bus *connection, const char *destination, PciKey key,
                            unsigned interfaces, ObjectScope scope);

/* The values of the interface's properties whose change is in `changes`; nothing is sent if there
 * is none. NULL: of all. */
int function_signal_changed(sd_bus *connection, const char *destination, const Function *function,
                            const Interface *interface, const PropertySet *changes);
