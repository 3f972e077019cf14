#include "dbus/function-signals.h"

#include "dbus/interfaces/interface-values.h"
#include "dbus/path.h"

static int begin_signal(sd_bus *connection, const char *destination, const char *path,
                        const char *interface, const char *member, sd_bus_message **ret) {
        int r = sd_bus_message_new_signal(connection, ret, path, interface, member);

        return r >= 0 && destination ? sd_bus_message_set_destination(*ret, destination) : r;
}

/* ObjectManager's: the first argument is the object. */
static int begin_object_signal(sd_bus *connection, const char *destination, PciKey key,
                               const char *member, sd_bus_message **ret) {
        char path[FUNCTION_PATH_MAX];
        int r = begin_signal(connection, destination, BUS_ROOT, OBJECT_MANAGER, member, ret);

        return r < 0 ? r : sd_bus_message_append_basic(*ret, 'o', function_path_format(key, path));
}

/* Sends `signal`, and releases it, unless `r` is negative. */
static int end_signal(sd_bus *connection, sd_bus_message *signal, int r) {
        if (r >= 0)
                r = sd_bus_send(connection, signal, NULL);
        sd_bus_message_unref(signal);
        return r < 0 ? r : 0;
}

int function_signal_added(sd_bus *connection, const char *destination, const Function *function,
                          unsigned interfaces, ObjectScope scope) {
        sd_bus_message *signal = NULL;
        int r;

        r = begin_object_signal(connection, destination, function->facts.key, "InterfacesAdded",
                                &signal);
        if (r >= 0)
                r = interface_append_object(signal, interfaces, function,
                                            scope == OBJECT_SCOPE_WHOLE);
        return end_signal(connection, signal, r);
}

int function_signal_removed(sd_bus *connection, const char *destination, PciKey key,
                            unsigned interfaces, ObjectScope scope) {
        sd_bus_message *signal = NULL;
        int r;

        r = begin_object_signal(connection, destination, key, "InterfacesRemoved", &signal);
        if (r >= 0)
                r = interface_append_names(signal, interfaces, scope == OBJECT_SCOPE_WHOLE);
        return end_signal(connection, signal, r);
}

int function_signal_changed(sd_bus *connection, const char *destination, const Function *function,
                            const Interface *interface, const PropertySet *changes) {
        char path[FUNCTION_PATH_MAX];
        sd_bus_message *signal = NULL;
        int r;

        if (changes && !interface_has_change(interface, changes))
                return 0;
        r = begin_signal(connection, destination, function_path_format(function->facts.key, path),
                         "org.freedesktop.DBus.Properties", "PropertiesChanged", &signal);
        if (r >= 0)
                r = sd_bus_message_append_basic(signal, 's', interface->name);
        if (r >= 0)
                r = interface_append_values(signal, interface, function, changes);
        if (r >= 0)
                r = sd_bus_message_append(signal, "as", 0);
        return end_signal(connection, signal, r);
}
