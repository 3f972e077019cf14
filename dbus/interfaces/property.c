#include "dbus/interfaces/property.h"

#include "dbus/bus-parts.h"
#include "dbus/clients.h"

void property_is_read(sd_bus *connection, sd_bus_message *reply) {
        /* As in method_dispatch(): `userdata` of a fallback vtable is the function. */
        sd_bus_slot *slot = sd_bus_get_current_slot(connection);
        const Bus *bus = slot ? sd_bus_slot_get_userdata(slot) : NULL;

        /* Without a client it is a signal. */
        if (bus && sd_bus_message_get_destination(reply))
                clients_replying(bus->clients, reply);
}
