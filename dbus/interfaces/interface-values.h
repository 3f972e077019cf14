/* interface-values.h: the values of all properties of a function's interfaces, as they are now.
 *
 * Owns nothing; reads the table of interfaces. */
#pragma once

#include "dbus/interfaces/interface-table.h"

/* Appends {name: value} of the properties that `function` has in `interface`, as a{sv}: of those
 * whose change is in `changes`, NULL: of all. Returns 0 or a negative errno. */
int interface_append_values(sd_bus_message *message, const Interface *interface,
                            const Function *function, const PropertySet *changes);

/* Appends "{interface: {name: value}}" of the interfaces whose bits are in `interfaces`, and of the
 * standard ones where `with_standard`, as a{sa{sv}}. Returns 0 or a negative errno. */
int interface_append_object(sd_bus_message *message, unsigned interfaces, const Function *function,
                            bool with_standard);

/* Appends the names alone, as an array of strings. */
int interface_append_names(sd_bus_message *message, unsigned interfaces, bool with_standard);
