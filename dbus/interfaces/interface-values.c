#include "dbus/interfaces/interface-values.h"

/* The interfaces that sd-bus gives to every object. */
#define STANDARD_PEER           "org.freedesktop.DBus.Peer"
#define STANDARD_INTROSPECTABLE "org.freedesktop.DBus.Introspectable"
#define STANDARD_PROPERTIES     "org.freedesktop.DBus.Properties"

static int append_value(sd_bus_message *message, const InterfaceProperty *property,
                        const Function *function) {
        ValueWriter writer = { .message = message };
        int r;

        r = sd_bus_message_open_container(message, 'e', "sv");
        if (r >= 0)
                r = sd_bus_message_append_basic(message, 's', property->name);
        if (r >= 0)
                r = sd_bus_message_open_container(message, 'v', property->type);
        if (r >= 0)
                r = property->write(&writer, function);
        for (unsigned i = 0; r >= 0 && i < 2; i++)
                r = sd_bus_message_close_container(message);
        return r;
}

int interface_append_values(sd_bus_message *message, const Interface *interface,
                            const Function *function, const PropertySet *changes) {
        int r = sd_bus_message_open_container(message, 'a', "{sv}");

        g_assert(interface->properties);
        for (const InterfaceProperty *p = interface->properties; r >= 0 && p->name; p++)
                if (!changes || interface_property_changes(p, changes))
                        r = append_value(message, p, function);
        return r < 0 ? r : sd_bus_message_close_container(message);
}

static int append_interface(sd_bus_message *message, const Interface *interface,
                            const Function *function) {
        int r = sd_bus_message_open_container(message, 'e', "sa{sv}");

        if (r >= 0)
                r = sd_bus_message_append_basic(message, 's', interface->name);
        if (r >= 0)
                r = interface_append_values(message, interface, function, NULL);
        return r < 0 ? r : sd_bus_message_close_container(message);
}

int interface_append_object(sd_bus_message *message, unsigned interfaces, const Function *function,
                            bool with_standard) {
        int r = sd_bus_message_open_container(message, 'a', "{sa{sv}}");

        if (r >= 0 && with_standard)
                r = sd_bus_message_append(message, "{sa{sv}}{sa{sv}}{sa{sv}}", STANDARD_PEER, 0,
                                          STANDARD_INTROSPECTABLE, 0, STANDARD_PROPERTIES, 0);
        interface_foreach (interface)
                if (r >= 0 && (interfaces & interface_bit(interface)))
                        r = append_interface(message, interface, function);
        return r < 0 ? r : sd_bus_message_close_container(message);
}

int interface_append_names(sd_bus_message *message, unsigned interfaces, bool with_standard) {
        int r = sd_bus_message_open_container(message, 'a', "s");

        if (r >= 0 && with_standard)
                r = sd_bus_message_append(message, "sss", STANDARD_PEER, STANDARD_INTROSPECTABLE,
                                          STANDARD_PROPERTIES);
        interface_foreach (interface)
                if (r >= 0 && (interfaces & interface_bit(interface)))
                        r = sd_bus_message_append_basic(message, 's', interface->name);
        return r < 0 ? r : sd_bus_message_close_container(message);
}
