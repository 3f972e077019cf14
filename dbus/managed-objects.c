#include "dbus/managed-objects.h"

#include "daemon/base/log.h"
#include "dbus/function-signals.h"
#include "dbus/interfaces/interface-values.h"
#include "dbus/path.h"
#include "policy/topology.h"

#include <string.h>

/* What sd-bus writes for an object without interfaces of its own (bus-introspect.c). */
#define INTROSPECTION_HEAD                                                                   \
        "<!DOCTYPE node PUBLIC \"-//freedesktop//DTD D-BUS Object Introspection 1.0//EN\"\n" \
        "\"https://www.freedesktop.org/standards/dbus/1.0/introspect.dtd\">\n"               \
        "<node>\n"                                                                           \
        " <interface name=\"org.freedesktop.DBus.Peer\">\n"                                  \
        "  <method name=\"Ping\"/>\n"                                                        \
        "  <method name=\"GetMachineId\">\n"                                                 \
        "   <arg type=\"s\" name=\"machine_uuid\" direction=\"out\"/>\n"                     \
        "  </method>\n"                                                                      \
        " </interface>\n"                                                                    \
        " <interface name=\"org.freedesktop.DBus.Introspectable\">\n"                        \
        "  <method name=\"Introspect\">\n"                                                   \
        "   <arg name=\"xml_data\" type=\"s\" direction=\"out\"/>\n"                         \
        "  </method>\n"                                                                      \
        " </interface>\n"                                                                    \
        " <interface name=\"org.freedesktop.DBus.Properties\">\n"                            \
        "  <method name=\"Get\">\n"                                                          \
        "   <arg name=\"interface_name\" direction=\"in\" type=\"s\"/>\n"                    \
        "   <arg name=\"property_name\" direction=\"in\" type=\"s\"/>\n"                     \
        "   <arg name=\"value\" direction=\"out\" type=\"v\"/>\n"                            \
        "  </method>\n"                                                                      \
        "  <method name=\"GetAll\">\n"                                                       \
        "   <arg name=\"interface_name\" direction=\"in\" type=\"s\"/>\n"                    \
        "   <arg name=\"props\" direction=\"out\" type=\"a{sv}\"/>\n"                        \
        "  </method>\n"                                                                      \
        "  <method name=\"Set\">\n"                                                          \
        "   <arg name=\"interface_name\" direction=\"in\" type=\"s\"/>\n"                    \
        "   <arg name=\"property_name\" direction=\"in\" type=\"s\"/>\n"                     \
        "   <arg name=\"value\" direction=\"in\" type=\"v\"/>\n"                             \
        "  </method>\n"                                                                      \
        "  <signal name=\"PropertiesChanged\">\n"                                            \
        "   <arg type=\"s\" name=\"interface_name\"/>\n"                                     \
        "   <arg type=\"a{sv}\" name=\"changed_properties\"/>\n"                             \
        "   <arg type=\"as\" name=\"invalidated_properties\"/>\n"                            \
        "  </signal>\n"                                                                      \
        " </interface>\n"

/* What a function takes in the answer, without its lists and what an administrator wrote; it is
 * about half of that (1,050 bytes for a plain function). */
#define OBJECT_BYTES 2048U

static int begin_objects(Answer *answer) {
        return sd_bus_message_open_container(answer->reply, 'a', "{oa{sa{sv}}}");
}

static size_t object_bytes(const Function *function) {
        size_t n_vfs = function->vfs ? function->vfs->len : 0;

        /* A PF's VFs are in two lists (VirtualFunctions, Dependents). */
        return OBJECT_BYTES + (2 * n_vfs + topology_n_children(function)) * FUNCTION_PATH_MAX +
               (function->lock_why ? strlen(function->lock_why) : 0);
}

static int add_object(Answer *answer, Function *function) {
        char path[FUNCTION_PATH_MAX];
        int r;

        r = sd_bus_message_open_container(answer->reply, 'e', "oa{sa{sv}}");
        if (r >= 0)
                r = sd_bus_message_append_basic(answer->reply, 'o',
                                                function_path_format(function->facts.key, path));
        if (r >= 0)
                r = interface_append_object(answer->reply, interfaces_on_function(function),
                                            function, true);
        answer->bytes += object_bytes(function);
        return r < 0 ? r : sd_bus_message_close_container(answer->reply);
}

static int end_objects(Answer *answer) {
        return sd_bus_message_close_container(answer->reply);
}

static int tell_change(const Answer *answer, const AnswerChange *change) {
        const Bus *bus = answer->call.bus;
        const char *client = sd_bus_message_get_sender(answer->call.message);
        Function *function = inventory_get(manager_inventory(bus->manager), change->key);
        unsigned before = change->interfaces;
        unsigned now = function ? interfaces_on_function(function) : 0;
        int r = 0;

        if (before & ~now)
                r = function_signal_removed(bus->connection, client, change->key, before & ~now,
                                            OBJECT_SCOPE_INTERFACES);
        if (r >= 0 && (now & ~before))
                r = function_signal_added(bus->connection, client, function, now & ~before,
                                          OBJECT_SCOPE_INTERFACES);
        interface_foreach (interface)
                if (r >= 0 && (now & before & interface_bit(interface)))
                        r = function_signal_changed(bus->connection, client, function, interface,
                                                    NULL);
        return r;
}

static void on_sent(Answer *answer) {
        int r = 0;

        for (guint i = 0; r >= 0 && answer->changes && i < answer->changes->len; i++)
                r = tell_change(answer, &g_array_index(answer->changes, AnswerChange, i));
        if (r < 0)
                log_warning("Failed to send what changed during GetManagedObjects: %s",
                            g_strerror(-r));
}

const AnswerKind managed_objects_kind = {
        .begin = begin_objects,
        .add = add_object,
        .end = end_objects,
        .sent = on_sent,
        .is_whole = true,
};

static int begin_introspection(Answer *answer) {
        g_string_append(answer->text, INTROSPECTION_HEAD);
        return 0;
}

static int add_node(Answer *answer, Function *function) {
        char path[FUNCTION_PATH_MAX];

        function_path_format(function->facts.key, path);
        g_string_append_printf(answer->text, " <node name=\"%s\"/>\n",
                               path + strlen(BUS_FUNCTION_PREFIX "/"));
        return 0;
}

static int end_introspection(Answer *answer) {
        g_string_append(answer->text, "</node>\n");
        return 0;
}

const AnswerKind introspection_kind = {
        .begin = begin_introspection,
        .add = add_node,
        .end = end_introspection,
        .is_text = true,
        .is_whole = true,
};

const AnswerKind *managed_objects_find_kind(sd_bus_message *call) {
        const char *path = sd_bus_message_get_path(call);

        if (strcmp(path, BUS_ROOT) == 0 &&
            sd_bus_message_is_method_call(call, OBJECT_MANAGER, "GetManagedObjects") > 0)
                return &managed_objects_kind;
        if (strcmp(path, BUS_FUNCTION_PREFIX) == 0 &&
            sd_bus_message_is_method_call(call, "org.freedesktop.DBus.Introspectable",
                                          "Introspect") > 0)
                return &introspection_kind;
        return NULL;
}
