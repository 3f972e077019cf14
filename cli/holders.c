#include "cli/holders.h"

#include "cli/cleanup.h"
#include "cli/client.h"
#include "cli/value.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define UNIT_PREFIX "machine-"
#define UNIT_SUFFIX ".scope"

static const char *const user_members[] = { "Address", "Pid", "Uid", "Command", "Unit" };
static const char *const inhibitor_members[] = { "Address", "What", "Who", "Why", "Uid", "Pid" };

/* systemd writes the name of a machine into its unit as systemd.unit(5) says, "\xNN" for what a unit's
 * name cannot have; and libvirt puts driver and number before it: machine-qemu\x2d1\x2dweb.scope. */
static char *machine_from_unit(const char *unit) {
        g_autoptr(GString) name = g_string_new(NULL);
        size_t length = strlen(unit);

        if (!g_str_has_prefix(unit, UNIT_PREFIX) || !g_str_has_suffix(unit, UNIT_SUFFIX) ||
            length <= strlen(UNIT_PREFIX) + strlen(UNIT_SUFFIX))
                return g_strdup("");

        for (const char *p = unit + strlen(UNIT_PREFIX); p < unit + length - strlen(UNIT_SUFFIX);
             p++)
                if (p[0] == '\\' && p[1] == 'x' && g_ascii_isxdigit(p[2]) &&
                    g_ascii_isxdigit(p[3])) {
                        g_string_append_c(name, (char) (g_ascii_xdigit_value(p[2]) << 4 |
                                                        g_ascii_xdigit_value(p[3])));
                        p += 3;
                } else
                        g_string_append_c(name, *p);
        if (strlen(name->str) != name->len || !g_utf8_validate(name->str, -1, NULL))
                return g_strdup("");

        static const char *const drivers[] = { "qemu-", "lxc-", "xen-", "ch-" };

        for (size_t i = 0; i < G_N_ELEMENTS(drivers); i++) {
                const char *p = name->str + strlen(drivers[i]);

                if (!g_str_has_prefix(name->str, drivers[i]) || !g_ascii_isdigit(*p))
                        continue;
                while (g_ascii_isdigit(*p))
                        p++;
                if (p[0] == '-' && p[1] != '\0')
                        return g_strdup(p + 1);
        }
        return g_string_free(g_steal_pointer(&name), FALSE);
}

/* Calls `method`, whose answer is an array of structures of the type `record`, and names the members of
 * each. */
static int list(Context *context, const char *method, const char *record,
                const char *const *members, unsigned flags, sd_bus_error *ret_error,
                JsonArray **ret) {
        g_autoptr(sd_bus_message) reply = NULL;
        g_autoptr(JsonNode) node = NULL;
        g_autofree char *signature = g_strdup_printf("a(%s)", record);
        int r;

        r = client_call(context, CLIENT_ROOT, CLIENT_MANAGER, method, flags, ret_error, &reply, "");
        if (r < 0)
                return r;
        if (!sd_bus_message_has_signature(reply, signature))
                return -EBADMSG;
        r = value_read(reply, &node);
        if (r < 0)
                return r;

        JsonArray *records = json_node_get_array(node);
        g_autoptr(JsonArray) holders = json_array_new();

        for (guint i = 0; i < json_array_get_length(records); i++) {
                JsonArray *values = json_array_get_array_element(records, i);
                JsonObject *holder = json_object_new();

                for (guint j = 0; j < json_array_get_length(values); j++)
                        json_object_set_member(holder, members[j],
                                               json_array_dup_element(values, j));
                json_array_add_object_element(holders, holder);
        }
        *ret = g_steal_pointer(&holders);
        return 0;
}

int holders_list_users(Context *context, unsigned flags, sd_bus_error *ret_error, JsonArray **ret) {
        int r;

        r = list(context, "ListUsers", "suuss", user_members, flags, ret_error, ret);
        if (r < 0)
                return r;
        for (guint i = 0; i < json_array_get_length(*ret); i++) {
                JsonObject *user = json_array_get_object_element(*ret, i);
                g_autofree char *machine = machine_from_unit(function_string(user, "Unit"));

                json_object_set_string_member(user, "Machine", machine);
        }
        return 0;
}

int holders_list_inhibitors(Context *context, unsigned flags, sd_bus_error *ret_error,
                            JsonArray **ret) {
        return list(context, "ListInhibitors", "ssssuu", inhibitor_members, flags, ret_error, ret);
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

        r = or_nobody(holders_list_users(context, flags, ret_error, &users), ret_error, &users);
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

        if (pid == 0)
                return g_strdup("a process that could not be found");
        if (!*command)
                command = "a process";
        if (*machine)
                return g_strdup_printf("%s (pid %" G_GINT64_FORMAT ", virtual machine %s)", command,
                                       pid, machine);
        if (*unit)
                return g_strdup_printf("%s (pid %" G_GINT64_FORMAT ", %s)", command, pid, unit);
        return g_strdup_printf("%s (pid %" G_GINT64_FORMAT ", uid %" G_GINT64_FORMAT ")", command,
                               pid, function_integer(user, "Uid", 0));
}

char *inhibitor_describe(JsonObject *inhibitor) {
        const char *why = function_string(inhibitor, "Why");

        return g_strdup_printf("%s (pid %" G_GINT64_FORMAT ") inhibits %s%s%s",
                               function_string(inhibitor, "Who"),
                               function_integer(inhibitor, "Pid", 0),
                               function_string(inhibitor, "What"), *why ? ": " : "", why);
}

/* Whether the process `pid` of this system runs `command`, the first words of a command line as the
 * daemon shows them: blanks between them, and for what cannot be shown. */
static bool runs(gint64 pid, const char *command) {
        g_autofree char *path = g_strdup_printf("/proc/%" G_GINT64_FORMAT "/cmdline", pid);
        g_autofree char *words = NULL;
        size_t length, n = strlen(command);

        if (!g_file_get_contents(path, &words, &length, NULL) || n == 0 || n > length)
                return false;
        for (size_t i = 0; i < n; i++)
                if (words[i] != command[i] &&
                    !(command[i] == ' ' && (unsigned char) words[i] < ' '))
                        return false;
        return true;
}

/* proc_pid_stat(5): field 22, in ticks since the boot; the second field is a name in parentheses that may
 * have anything in it. Returns 0 if it cannot be read. */
static gint64 start_ticks(gint64 pid) {
        g_autofree char *path = g_strdup_printf("/proc/%" G_GINT64_FORMAT "/stat", pid);
        g_autofree char *text = NULL;

        if (!g_file_get_contents(path, &text, NULL, NULL))
                return 0;

        const char *after = strrchr(text, ')');

        if (!after)
                return 0;
        g_auto(GStrv) fields = g_strsplit(after, " ", -1);
        gint64 ticks = 0;

        if (g_strv_length(fields) > 20)
                (void) g_ascii_string_to_signed(fields[20], 10, 0, G_MAXINT64 / G_USEC_PER_SEC,
                                                &ticks, NULL);
        return ticks;
}

/* A pid that comes from another host, or from outside this container, means another process here or none:
 * it is the one only if it runs the same command. */
char *holder_running_since(const Context *context, JsonObject *user) {
        gint64 pid = function_integer(user, "Pid", 0), ticks;
        struct timespec now;

        if (context->host || pid == 0 || !runs(pid, function_string(user, "Command")))
                return NULL;
        ticks = start_ticks(pid);
        if (ticks == 0 || clock_gettime(CLOCK_BOOTTIME, &now) < 0)
                return NULL;

        gint64 age = now.tv_sec - ticks / sysconf(_SC_CLK_TCK);
        g_autoptr(GDateTime) present = g_date_time_new_now_local();
        g_autoptr(GDateTime) start = g_date_time_add_seconds(present, (gdouble) -age);

        return g_date_time_format(start, "%Y-%m-%d %H:%M");
}
