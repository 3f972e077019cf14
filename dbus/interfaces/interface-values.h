/* interface-values.h: the values of all properties of a function's interfaces, as they are now.
 *
 * Owns nothing; reads the table of interfaces. */
#pragma once

#include "dbus/interfaces/interface-table.h"

/* Appends {name: value} of the properties that `function` has in `interface`, as a{sv}. Returns 0
 * or a negative errno. */
int interface_append_values(sd_bus_message *message, const Interface *interface,
                            const Function *function);

/* Appends "{interface: {name: value}}" of the interfaces whose bits are in `interfaces`, and of the
 * standard ones where `with_standard`, as a{sa{sv}}. Returns 0 or a negative errno. */
int interface_append_object(sd_bus_message *message, unsigned interfaces, const Function *function,
                            bool with_standard);
