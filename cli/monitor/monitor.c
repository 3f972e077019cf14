#include "cli/cleanup.h"
#include "cli/client.h"
#include "cli/monitor/event.h"
#include "cli/monitor/watch.h"
#include "cli/verbs.h"

#include <errno.h>
#include <systemd/sd-event.h>

typedef struct Monitor {
        Context *context;
        sd_event *event;
        Watch watch;
        char *owner;           /* the daemon's unique name, NULL while it is not running */
        sd_bus_slot *describe; /* the call whose reply is awaited */
        GPtrArray *early;      /* signals from before the first reply; NULL after it */
        ExitCode code;
} Monitor;

static void monitor_done(Monitor *monitor) {
        watch_done(&monitor->watch);
        g_clear_pointer(&monitor->early, g_ptr_array_unref);
        sd_bus_slot_unref(monitor->describe);
        sd_event_unref(monitor->event);
        g_free(monitor->owner);
}

static void monitor_end(Monitor *monitor, ExitCode code) {
        monitor->code = code;
        (void) sd_event_exit(monitor->event, 0);
}

/* Lines are of use when they appear. main() reports a write that failed. */
static void monitor_flush(Monitor *monitor) {
        if (output_flush(&monitor->context->output) < 0)
                monitor_end(monitor, EXIT_CODE_DONE);
}

static int load(Monitor *monitor);

static void print_signal(Monitor *monitor, sd_bus_message *message) {
        Watch *watch = &monitor->watch;
        int r = 0;

        if (sd_bus_message_is_signal(message, "org.freedesktop.DBus.ObjectManager",
                                     "InterfacesAdded"))
                r = watch_interfaces_added(watch, message);
        else if (sd_bus_message_is_signal(message, "org.freedesktop.DBus.ObjectManager",
                                          "InterfacesRemoved"))
                r = watch_interfaces_removed(watch, message);
        else if (sd_bus_message_is_signal(message, "org.freedesktop.DBus.Properties",
                                          "PropertiesChanged"))
                r = watch_properties_changed(watch, message);
        else if (sd_bus_message_is_signal(message, CLIENT_MANAGER, "Violation"))
                r = watch_violation(watch, message);
        else if (sd_bus_message_is_signal(message, CLIENT_FUNCTION, "UnplugRequested"))
                r = watch_unplug_requested(watch, message);
        else if (sd_bus_message_is_signal(message, CLIENT_FUNCTION, "DeviceFailed"))
                r = watch_device_failed(watch, message);
        if (r < 0)
                print_warning("A signal %s of the daemon is not understood: %s",
                              sd_bus_message_get_member(message), g_strerror(-r));
}

static void unref_message(gpointer message) {
        sd_bus_message_unref(message);
}

/* The first line tells what is watched: signals from before the reply to Describe() follow it. */
static void print_early(Monitor *monitor) {
        if (!monitor->early)
                return;
        for (guint i = 0; i < monitor->early->len; i++)
                print_signal(monitor, g_ptr_array_index(monitor->early, i));
        g_ptr_array_set_size(monitor->early, 0);
}

static int on_describe(sd_bus_message *reply, void *userdata, sd_bus_error *ret_error) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        Monitor *monitor = userdata;
        g_autoptr(Inventory) inventory = NULL;
        int r;

        monitor->describe = sd_bus_slot_unref(monitor->describe);

        /* No reply: the daemon took its time or is gone; the next call tells which. No owner: the
         * bus tells when there is one. */
        if (sd_bus_message_is_method_error(reply, SD_BUS_ERROR_NO_REPLY))
                return load(monitor);
        if (sd_bus_message_is_method_error(reply, SD_BUS_ERROR_NAME_HAS_NO_OWNER) ||
            sd_bus_message_is_method_error(reply, SD_BUS_ERROR_SERVICE_UNKNOWN))
                return 0;

        if (sd_bus_message_is_method_error(reply, NULL)) {
                r = -sd_bus_message_get_errno(reply);
                sd_bus_error_copy(&error, sd_bus_message_get_error(reply));
        } else
                r = client_read_inventory(reply, &error, &inventory);
        if (r < 0) {
                monitor_end(monitor,
                            client_fail(monitor->context, r, &error, "Cannot load the functions"));
                return 0;
        }

        watch_loaded(&monitor->watch, g_steal_pointer(&inventory));
        print_early(monitor);
        g_clear_pointer(&monitor->early, g_ptr_array_unref);
        monitor_flush(monitor);
        return 0;
}

static int load(Monitor *monitor) {
        g_autoptr(sd_bus_message) message = NULL;
        int r;

        r = client_new_call(monitor->context, CLIENT_ROOT, CLIENT_MANAGER, "Describe",
                            CALL_NO_AUTO_START, &message);
        if (r < 0)
                return r;

        monitor->describe = sd_bus_slot_unref(monitor->describe);
        return sd_bus_call_async(monitor->context->bus, &monitor->describe, message, on_describe,
                                 monitor, 0);
}

/* Anybody on the system bus may send us a signal with the daemon's paths and names in it; what
 * makes it the daemon's is that the bus says so. */
static int on_monitor_signal(sd_bus_message *message, void *userdata, sd_bus_error *ret_error) {
        Monitor *monitor = userdata;

        if (g_strcmp0(sd_bus_message_get_sender(message), monitor->owner) != 0)
                return 0;

        if (monitor->early)
                g_ptr_array_add(monitor->early, sd_bus_message_ref(message));
        else
                print_signal(monitor, message);
        monitor_flush(monitor);
        return 0;
}

static int on_monitor_name_owner_changed(sd_bus_message *message, void *userdata,
                                         sd_bus_error *ret_error) {
        Monitor *monitor = userdata;
        const char *name, *old, *new;
        int r;

        if (g_strcmp0(sd_bus_message_get_sender(message), "org.freedesktop.DBus") != 0)
                return 0;
        r = sd_bus_message_read(message, "sss", &name, &old, &new);
        if (r < 0)
                return r;

        /* The answer to GetNameOwner() may have told already. */
        if (g_strcmp0(monitor->owner, *new ? new : NULL) == 0)
                return 0;

        if (monitor->owner) {
                print_early(monitor);
                watch_daemon_gone(&monitor->watch);
        }
        monitor->describe = sd_bus_slot_unref(monitor->describe);
        g_free(monitor->owner);
        monitor->owner = *new ? g_strdup(new) : NULL;

        if (monitor->owner) {
                event_print(monitor->context, &(Event){ .kind = EVENT_DAEMON_STARTED });
                r = load(monitor);
                if (r < 0)
                        return r;
        }
        monitor_flush(monitor);
        return 0;
}

static int on_disconnected(sd_bus_message *message, void *userdata, sd_bus_error *ret_error) {
        Monitor *monitor = userdata;

        monitor_end(monitor, client_fail(monitor->context, -ECONNRESET, NULL, "Cannot monitor"));
        return 0;
}

/* The reader has gone, and the next change may be a long time away. */
static int on_output_closed(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        monitor_end(userdata, EXIT_CODE_DONE);
        return 0;
}

static int subscribe(Monitor *monitor) {
        sd_bus *bus = monitor->context->bus;
        int r;

        r = sd_bus_add_match(bus, NULL,
                             "type='signal',sender='" CLIENT_BUS_NAME
                             "',path_namespace='" CLIENT_ROOT "'",
                             on_monitor_signal, monitor);
        if (r < 0)
                return r;
        r = sd_bus_add_match(bus, NULL,
                             "type='signal',sender='org.freedesktop.DBus',"
                             "path='/org/freedesktop/DBus',interface='org.freedesktop.DBus',"
                             "member='NameOwnerChanged',arg0='" CLIENT_BUS_NAME "'",
                             on_monitor_name_owner_changed, monitor);
        if (r < 0)
                return r;
        return sd_bus_add_match(bus, NULL,
                                "type='signal',sender='org.freedesktop.DBus.Local',"
                                "path='/org/freedesktop/DBus/Local',"
                                "interface='org.freedesktop.DBus.Local',member='Disconnected'",
                                on_disconnected, monitor);
}

static int find_owner(Monitor *monitor, sd_bus_error *ret_error) {
        g_autoptr(sd_bus_message) reply = NULL;
        const char *owner;
        int r;

        r = sd_bus_call_method(monitor->context->bus, "org.freedesktop.DBus",
                               "/org/freedesktop/DBus", "org.freedesktop.DBus", "GetNameOwner",
                               ret_error, &reply, "s", CLIENT_BUS_NAME);
        if (sd_bus_error_has_name(ret_error, SD_BUS_ERROR_NAME_HAS_NO_OWNER)) {
                sd_bus_error_free(ret_error);
                event_print(monitor->context, &(Event){ .kind = EVENT_DAEMON_STOPPED });
                return 0;
        }
        if (r < 0)
                return r;
        r = sd_bus_message_read(reply, "s", &owner);
        if (r < 0)
                return r;

        monitor->owner = g_strdup(owner);
        return load(monitor);
}

/* Subscribes before it loads: a change that falls between the two is seen as a signal whose old
 * value is not known, rather than not at all. */
static int start(Monitor *monitor, sd_bus_error *ret_error) {
        Context *context = monitor->context;
        int r;

        r = sd_event_new(&monitor->event);
        if (r < 0)
                return r;
        r = client_connect(context);
        if (r < 0)
                return r;
        r = sd_bus_attach_event(context->bus, monitor->event, SD_EVENT_PRIORITY_NORMAL);
        if (r < 0)
                return r;
        r = subscribe(monitor);
        if (r < 0)
                return r;
        r = find_owner(monitor, ret_error);
        if (r < 0)
                return r;

        /* A file can be written at any time, epoll does not take it. */
        r = sd_event_add_io(monitor->event, NULL, context->output.fd, 0, on_output_closed, monitor);
        return r < 0 && r != -EPERM ? r : 0;
}

static ExitCode run_monitor(Context *context, char **arguments) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        _cleanup_(monitor_done) Monitor monitor = { .context = context };
        int r;

        watch_init(&monitor.watch, context);
        monitor.early = g_ptr_array_new_with_free_func(unref_message);
        r = start(&monitor, &error);
        if (r >= 0) {
                monitor_flush(&monitor);
                r = sd_event_loop(monitor.event);
        }
        (void) sd_bus_detach_event(context->bus);
        if (r < 0)
                return client_fail(context, r, &error, "Cannot monitor");
        return monitor.code;
}

const Verb verb_monitor = {
        .name = "monitor",
        .arguments = "",
        .run = run_monitor,
        .help = "A line for each change, until interrupted",
};
