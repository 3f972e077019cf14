/* interface-values.h: the values of all properties of an interface, as they are now.
 *
 * Owns nothing; reads the vtables, as sd-bus does for GetAll(), and so says the same. */
#pragma once

#include "dbus/bus.h"
#include "dbus/interfaces/interface-table.h"

/* Appends {name: value} of the properties that `function` has in `interface`, as a{sv}. Returns 0
 * or a negative errno. */
int interface_append_values(sd_bus_message *message, Bus *bus, const Interface *interface,
                            Function *function);

/* Appends "{interface: {name: value}}" of the interfaces whose bits are in `interfaces`, and of the
 * standard ones where `with_standard`, as a{sa{sv}}. Returns 0 or a negative errno. */
int interface_append_object(sd_bus_message *message, Bus *bus, unsigned interfaces,
                            Function *function, bool with_standard);
