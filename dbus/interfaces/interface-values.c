#include "dbus/interfaces/interface-values.h"

#include "dbus/path.h"

#include <errno.h>

/* A property without a getter is read where it is, as sd-bus has it (SD_BUS_PROPERTY(3)). */
static int append_plain(sd_bus_message *message, const char *type, const void *value) {
        if (type[0] == 's')
                return sd_bus_message_append_basic(
                        message, 's', *(char *const *) value ? *(char *const *) value : "");
        return sd_bus_message_append_basic(message, type[0], value);
}

static int append_value(sd_bus_message *message, Bus *bus, const char *path, const char *interface,
                        const sd_bus_vtable *row, Function *function) {
        const char *name = row->x.property.member, *type = row->x.property.signature;
        void *value = (uint8_t *) function + row->x.property.offset;
        sd_bus_error error = SD_BUS_ERROR_NULL;
        int r;

        r = sd_bus_message_open_container(message, 'e', "sv");
        if (r >= 0)
                r = sd_bus_message_append_basic(message, 's', name);
        if (r >= 0)
                r = sd_bus_message_open_container(message, 'v', type);
        if (r >= 0 && row->x.property.get)
                r = row->x.property.get(bus->connection, path, interface, name, message, value,
                                        &error);
        else if (r >= 0)
                r = append_plain(message, type, value);
        for (unsigned i = 0; r >= 0 && i < 2; i++)
                r = sd_bus_message_close_container(message);
        sd_bus_error_free(&error);
        return r;
}

int interface_append_values(sd_bus_message *message, Bus *bus, const Interface *interface,
                            Function *function) {
        char path[FUNCTION_PATH_MAX];
        int r = sd_bus_message_open_container(message, 'a', "{sv}");

        function_path_format(function->facts.key, path);
        for (const sd_bus_vtable *row = interface->vtable;
             r >= 0 && row->type != _SD_BUS_VTABLE_END; row++)
                if (row->type == _SD_BUS_VTABLE_PROPERTY)
                        r = append_value(message, bus, path, interface->name, row, function);
        return r < 0 ? r : sd_bus_message_close_container(message);
}

static int append_interface(sd_bus_message *message, Bus *bus, const Interface *interface,
                            Function *function) {
        int r = sd_bus_message_open_container(message, 'e', "sa{sv}");

        if (r >= 0)
                r = sd_bus_message_append_basic(message, 's', interface->name);
        if (r >= 0)
                r = interface_append_values(message, bus, interface, function);
        return r < 0 ? r : sd_bus_message_close_container(message);
}

int interface_append_object(sd_bus_message *message, Bus *bus, unsigned interfaces,
                            Function *function, bool with_standard) {
        int r = sd_bus_message_open_container(message, 'a', "{sa{sv}}");

        if (r >= 0 && with_standard)
                r = sd_bus_message_append(message, "{sa{sv}}{sa{sv}}{sa{sv}}",
                                          "org.freedesktop.DBus.Peer", 0,
                                          "org.freedesktop.DBus.Introspectable", 0,
                                          "org.freedesktop.DBus.Properties", 0);
        interface_foreach (interface)
                if (r >= 0 && (interfaces & interface_bit(interface)))
                        r = append_interface(message, bus, interface, function);
        return r < 0 ? r : sd_bus_message_close_container(message);
}
