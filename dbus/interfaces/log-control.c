/* org.freedesktop.LogControl1(5), for `systemctl service-log-level` and `service-log-target`. Root
 * may set the properties; the bus policy says so again. The calls are taken before sd-bus sees
 * them: for a writable property it asks the bus for the caller's privileges, and waits for the
 * answer. */
#include "dbus/error.h"
#include "dbus/interfaces/interface.h"
#include "dbus/senders.h"

#include "daemon/base/log.h"

#include <errno.h>

INTERFACE_GETTER(log_control_get_level) {
        return sd_bus_message_append(reply, "s", log_level_to_string(log_get_level()));
}

INTERFACE_GETTER(log_control_get_target) {
        return sd_bus_message_append(reply, "s", log_target_to_string(log_get_target()));
}

INTERFACE_GETTER(log_control_get_identifier) {
        return sd_bus_message_append(reply, "s", "vfwardend");
}

static int set_target(const char *name) {
        LogTarget target = log_target_from_string(name);

        if (target < 0)
                return target;
        log_set_target(target);
        return 0;
}

static int set_level(const char *name) {
        int level = log_level_from_string(name);

        if (level < 0)
                return level;
        log_set_level(level);
        return 0;
}

/* A property that can be set, to one of a list of names. */
typedef struct Setting {
        const char *property;
        const char *wrong; /* what another name is */
        int (*set)(const char *name);
} Setting;

static const Setting settings[] = {
        { "LogLevel", "no log level", set_level },
        { "LogTarget", "no log target (journal, console, null)", set_target },
};

static const Setting *find_setting(const char *property) {
        for (unsigned i = 0; i < G_N_ELEMENTS(settings); i++)
                if (g_str_equal(property, settings[i].property))
                        return &settings[i];
        return NULL;
}

/* The setter of both properties. */
static int log_control_set(sd_bus *connection, const char *path, const char *interface,
                           const char *property, sd_bus_message *value, void *userdata,
                           sd_bus_error *error) {
        const Setting *setting = find_setting(property);
        const char *name;
        int r;

        g_assert(setting);
        r = sd_bus_message_read(value, "s", &name);
        if (r < 0)
                return r;
        r = setting->set(name);
        return r < 0 ? bus_error_set(error, -EINVAL, "'%s' is %s", name, setting->wrong) : 0;
}

static int set_property(sd_bus_message *call, sd_bus_error *error) {
        const char *interface, *name;
        int r;

        r = sd_bus_message_read(call, "ss", &interface, &name);
        if (r < 0)
                return r;
        if (!g_str_equal(interface, LOG_CONTROL) || !find_setting(name))
                return sd_bus_error_setf(error, SD_BUS_ERROR_UNKNOWN_PROPERTY,
                                         "there is no such property that can be set");
        if (sd_bus_message_enter_container(call, 'v', "s") <= 0)
                return bus_error_set(error, -EINVAL, "%s is a string", name);
        return log_control_set(NULL, LOG_CONTROL_PATH, interface, name, call, NULL, error);
}

static void on_caller(void *userdata, int result, const Sender *sender) {
        sd_bus_message *call = userdata;
        sd_bus_error error = SD_BUS_ERROR_NULL;
        int r;

        if (result == -ENXIO)
                r = 0; /* the caller has left */
        else if (result < 0 || sender->uid != 0)
                r = bus_error_set(&error, -EACCES, "root alone may set this");
        else
                r = set_property(call, &error);
        if (r >= 0)
                (void) sd_bus_reply_method_return(call, NULL);
        else if (sd_bus_error_is_set(&error))
                (void) sd_bus_reply_method_error(call, &error);
        else
                (void) sd_bus_reply_method_errno(call, r, NULL);
        sd_bus_error_free(&error);
        sd_bus_message_unref(call);
}

static int on_log_control_message(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        const Bus *bus = userdata;
        const char *path = sd_bus_message_get_path(message);

        if (!sd_bus_message_is_method_call(message, "org.freedesktop.DBus.Properties", "Set") ||
            !path || !g_str_equal(path, LOG_CONTROL_PATH))
                return 0;
        senders_find(bus->senders, sd_bus_message_get_sender(message), on_caller,
                     sd_bus_message_ref(message));
        return 1;
}

int log_control_take_calls(Bus *bus) {
        return sd_bus_add_filter(bus->connection, NULL, on_log_control_message, bus);
}

const sd_bus_vtable log_control_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_WRITABLE_PROPERTY("LogLevel", "s", log_control_get_level, log_control_set, 0, 0),
        SD_BUS_WRITABLE_PROPERTY("LogTarget", "s", log_control_get_target, log_control_set, 0, 0),
        SD_BUS_PROPERTY("SyslogIdentifier", "s", log_control_get_identifier, 0,
                        SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_VTABLE_END,
};
