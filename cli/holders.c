#include "cli/holders.h"

#include "cli/cleanup.h"
#include "cli/client.h"
#include "cli/value.h"

#include <errno.h>
#include <stdbool.h>

/* Of DescribeUsers(), with the names that we give them. */
static const struct {
        const char *key, *member;
        bool is_number;
} user_members[] = {
        { "address", "Address", false }, { "pid", "Pid", true },    { "uid", "Uid", true },
        { "command", "Command", false }, { "unit", "Unit", false }, { "machine", "Machine", false },
        { "since", "Since", true },
};

/* Of ListInhibitors() in their order, and then those of DescribeInhibitors() alone. */
static const struct {
        const char *key, *member;
} inhibitor_members[] = {
        { "address", "Address" }, { "what", "What" }, { "who", "Who" },   { "why", "Why" },
        { "uid", "Uid" },         { "pid", "Pid" },   { "mode", "Mode" },
};

/* What a daemon leaves out, or says otherwise than agreed, is empty. */
static JsonObject *user_new(JsonObject *told) {
        JsonObject *user = json_object_new();
        gint64 socket_pid = function_integer(told, "socket-pid", 0);

        for (size_t i = 0; i < G_N_ELEMENTS(user_members); i++)
                if (user_members[i].is_number)
                        json_object_set_int_member(user, user_members[i].member,
                                                   function_integer(told, user_members[i].key, 0));
                else
                        json_object_set_string_member(user, user_members[i].member,
                                                      function_string(told, user_members[i].key));
        json_object_set_boolean_member(
                user, "Brokered",
                json_object_get_boolean_member_with_default(told, "brokered", FALSE));
        if (socket_pid != 0)
                json_object_set_int_member(user, "SocketPid", socket_pid);
        return user;
}

int holders_list_users(Context *context, const char *address, unsigned flags,
                       sd_bus_error *ret_error, JsonArray **ret) {
        g_autoptr(sd_bus_message) reply = NULL;
        g_autoptr(JsonNode) node = NULL;
        int r;

        r = client_call(context, CLIENT_ROOT, CLIENT_MANAGER, "DescribeUsers", flags, ret_error,
                        &reply, "s", address);
        if (r < 0)
                return r;
        if (!sd_bus_message_has_signature(reply, "aa{sv}"))
                return -EBADMSG;
        r = value_read(reply, &node);
        if (r < 0)
                return r;

        JsonArray *told = json_node_get_array(node), *users = json_array_new();

        for (guint i = 0; i < json_array_get_length(told); i++)
                json_array_add_object_element(users,
                                              user_new(json_array_get_object_element(told, i)));
        *ret = users;
        return 0;
}

/* From the dictionaries of DescribeInhibitors(). */
static JsonObject *inhibitor_described(JsonObject *told) {
        JsonObject *inhibitor = json_object_new();

        for (size_t i = 0; i < G_N_ELEMENTS(inhibitor_members); i++) {
                JsonNode *value = json_object_get_member(told, inhibitor_members[i].key);

                if (value)
                        json_object_set_member(inhibitor, inhibitor_members[i].member,
                                               json_node_copy(value));
        }
        return inhibitor;
}

/* From the records of ListInhibitors(), of an older daemon. */
static JsonObject *inhibitor_listed(JsonArray *values) {
        JsonObject *inhibitor = json_object_new();

        for (guint i = 0; i < json_array_get_length(values); i++)
                json_object_set_member(inhibitor, inhibitor_members[i].member,
                                       json_array_dup_element(values, i));
        return inhibitor;
}

int holders_list_inhibitors(Context *context, unsigned flags, sd_bus_error *ret_error,
                            JsonArray **ret) {
        g_autoptr(sd_bus_message) reply = NULL;
        g_autoptr(JsonNode) node = NULL;
        bool described;
        int r;

        r = client_call(context, CLIENT_ROOT, CLIENT_MANAGER, "DescribeInhibitors", flags,
                        ret_error, &reply, "");
        if (r < 0 && sd_bus_error_has_name(ret_error, SD_BUS_ERROR_UNKNOWN_METHOD)) {
                sd_bus_error_free(ret_error);
                r = client_call(context, CLIENT_ROOT, CLIENT_MANAGER, "ListInhibitors", flags,
                                ret_error, &reply, "");
        }
        if (r < 0)
                return r;
        described = sd_bus_message_has_signature(reply, "aa{sv}");
        if (!described && !sd_bus_message_has_signature(reply, "a(ssssuu)"))
                return -EBADMSG;
        r = value_read(reply, &node);
        if (r < 0)
                return r;

        JsonArray *records = json_node_get_array(node);
        g_autoptr(JsonArray) inhibitors = json_array_new();

        for (guint i = 0; i < json_array_get_length(records); i++)
                json_array_add_object_element(
                        inhibitors,
                        described ? inhibitor_described(json_array_get_object_element(records, i))
                                  : inhibitor_listed(json_array_get_array_element(records, i)));
        *ret = g_steal_pointer(&inhibitors);
        return 0;
}

/* Nobody, where the daemon has no such method. */
static int or_nobody(int r, sd_bus_error *error, JsonArray **ret) {
        if (r >= 0 || !sd_bus_error_has_name(error, SD_BUS_ERROR_UNKNOWN_METHOD))
                return r;
        sd_bus_error_free(error);
        *ret = json_array_new();
        return 0;
}

int holders_list_both(Context *context, unsigned flags, sd_bus_error *ret_error,
                      JsonArray **ret_users, JsonArray **ret_inhibitors) {
        g_autoptr(JsonArray) users = NULL;
        int r;

        r = or_nobody(holders_list_users(context, "", flags, ret_error, &users), ret_error, &users);
        if (r < 0)
                return r;
        r = or_nobody(holders_list_inhibitors(context, flags, ret_error, ret_inhibitors), ret_error,
                      ret_inhibitors);
        if (r < 0)
                return r;
        *ret_users = g_steal_pointer(&users);
        return 0;
}

JsonArray *holders_at(JsonArray *holders, const char *address) {
        JsonArray *found = json_array_new();

        for (guint i = 0; i < json_array_get_length(holders); i++) {
                JsonObject *holder = json_array_get_object_element(holders, i);

                if (g_str_equal(function_string(holder, "Address"), address))
                        json_array_add_object_element(found, json_object_ref(holder));
        }
        return found;
}

JsonObject *holders_find(JsonArray *users, const char *address, gint64 pid) {
        for (guint i = 0; i < json_array_get_length(users); i++) {
                JsonObject *user = json_array_get_object_element(users, i);

                if (function_integer(user, "Pid", 0) == pid &&
                    g_str_equal(function_string(user, "Address"), address))
                        return user;
        }
        return NULL;
}

unsigned holders_count_processes(JsonArray *users) {
        g_autoptr(GHashTable) pids = g_hash_table_new(NULL, NULL);
        unsigned unknown = 0;

        for (guint i = 0; i < json_array_get_length(users); i++) {
                JsonObject *user = json_array_get_object_element(users, i);
                gint64 pid = function_integer(user, "Pid", 0);

                if (pid == 0)
                        unknown++;
                else
                        g_hash_table_add(pids, GSIZE_TO_POINTER((gsize) pid));
        }
        return g_hash_table_size(pids) + unknown;
}

char *holder_describe(JsonObject *user) {
        const char *command = function_string(user, "Command");
        const char *machine = function_string(user, "Machine");
        const char *unit = function_string(user, "Unit");
        gint64 pid = function_integer(user, "Pid", 0);
        gint64 uid = function_integer(user, "Uid", 0);
        gint64 socket_pid = function_integer(user, "SocketPid", 0);
        bool is_brokered = json_object_get_boolean_member_with_default(user, "Brokered", FALSE);
        const char *brokered = is_brokered ? ", opened by vfwarden" : "";

        if (!*command)
                command = "a process";
        if (pid == 0 && is_brokered)
                return g_strdup_printf("a process that could not be found; opened for %s (uid "
                                       "%" G_GINT64_FORMAT ")",
                                       command, uid);
        if (pid == 0 && socket_pid != 0)
                return g_strdup_printf("a process that could not be found, perhaps by a descriptor "
                                       "in a socket of pid %" G_GINT64_FORMAT,
                                       socket_pid);
        if (pid == 0)
                return g_strdup("a process that could not be found");
        if (*machine)
                return g_strdup_printf("%s (pid %" G_GINT64_FORMAT ", virtual machine %s%s)",
                                       command, pid, machine, brokered);
        if (*unit)
                return g_strdup_printf("%s (pid %" G_GINT64_FORMAT ", %s%s)", command, pid, unit,
                                       brokered);
        return g_strdup_printf("%s (pid %" G_GINT64_FORMAT ", uid %" G_GINT64_FORMAT "%s)", command,
                               pid, uid, brokered);
}

bool inhibitor_delays(JsonObject *inhibitor) {
        return g_str_equal(function_string(inhibitor, "Mode"), "delay");
}

char *inhibitor_describe(JsonObject *inhibitor) {
        const char *why = function_string(inhibitor, "Why");

        return g_strdup_printf("%s (pid %" G_GINT64_FORMAT ") %s %s%s%s",
                               function_string(inhibitor, "Who"),
                               function_integer(inhibitor, "Pid", 0),
                               inhibitor_delays(inhibitor) ? "delays" : "inhibits",
                               function_string(inhibitor, "What"), *why ? ": " : "", why);
}
