#include "dbus/request-log.h"

#include "daemon/base/log.h"
#include "dbus/path.h"
#include "policy/client-text.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* So many users are counted apart; those beyond share what one has. */
#define USERS_MAX  1024U
#define USERS_REST UINT32_MAX

/* Of an argument, and of all arguments of a call. */
#define TEXT_MAX      64
#define ARGUMENTS_MAX 256
/* Bytes of UTF-8. */
#define CHARACTER_MAX 4

/* Texts of an array that are counted; the rest of a longer one, and what is behind it, is left
 * out. */
#define COUNTED_MAX 2048U

typedef struct Count {
        uint64_t since_usec;
        unsigned n_lines, n_left_out;
} Count;

struct RequestLog {
        unsigned n_references;
        GHashTable *counts; /* uid -> Count*, owned */
};

RequestLog *request_log_new(void) {
        RequestLog *log = g_new(RequestLog, 1);

        *log = (RequestLog){ 1, g_hash_table_new_full(NULL, NULL, NULL, g_free) };
        return log;
}

RequestLog *request_log_ref(RequestLog *log) {
        log->n_references++;
        return log;
}

RequestLog *request_log_unref(RequestLog *log) {
        if (!log || --log->n_references > 0)
                return NULL;
        g_hash_table_unref(log->counts);
        g_free(log);
        return NULL;
}

static gboolean request_log_is_over(gpointer key, gpointer value, gpointer now) {
        const Count *count = value;

        return count->n_left_out == 0 &&
               *(const uint64_t *) now - count->since_usec >= REQUEST_LOG_INTERVAL_USEC;
}

static Count *find_count(RequestLog *log, uint32_t uid, uint64_t now_usec) {
        Count *count = g_hash_table_lookup(log->counts, GUINT_TO_POINTER(uid));

        if (count)
                return count;
        if (g_hash_table_size(log->counts) >= USERS_MAX)
                g_hash_table_foreach_remove(log->counts, request_log_is_over, &now_usec);
        if (g_hash_table_size(log->counts) >= USERS_MAX && uid != USERS_REST)
                return find_count(log, USERS_REST, now_usec);
        count = g_new0(Count, 1);
        count->since_usec = now_usec;
        g_hash_table_insert(log->counts, GUINT_TO_POINTER(uid), count);
        return count;
}

bool request_log_take(RequestLog *log, uint32_t uid, uint64_t now_usec, unsigned *ret_left_out) {
        Count *count;

        *ret_left_out = 0;
        if (uid == 0)
                return true;
        count = find_count(log, uid, now_usec);
        if (now_usec - count->since_usec >= REQUEST_LOG_INTERVAL_USEC) {
                *ret_left_out = count->n_left_out;
                *count = (Count){ .since_usec = now_usec };
        }
        if (count->n_lines >= REQUEST_LOG_BURST) {
                count->n_left_out++;
                return false;
        }
        count->n_lines++;
        return true;
}

/* Text that somebody else chose: of one line, at most `max` bytes. The caller's. No more is read
 * than that, and one character behind it, which shows that something was left out. */
static char *harmless(const char *text, size_t max) {
        g_autofree char *valid =
                client_text_make_valid(text, (ptrdiff_t) strnlen(text, max + CHARACTER_MAX));

        client_text_cut(valid, max);
        return g_steal_pointer(&valid);
}

void request_log_read_command(uint32_t pid, char ret[static METHOD_COMMAND_MAX]) {
        g_autofree char *path = g_strdup_printf("/proc/%u/comm", pid), *text = NULL, *safe = NULL;

        if (pid != 0 && g_file_get_contents(path, &text, NULL, NULL))
                safe = harmless(g_strchomp(text), METHOD_COMMAND_MAX - 1);
        g_strlcpy(ret, safe ? safe : "?", METHOD_COMMAND_MAX);
}

static int append_number(sd_bus_message *message, char type, GString *text) {
        union {
                uint8_t y;
                int b;
                int16_t n;
                uint16_t q;
                int32_t i;
                uint32_t u;
                int64_t x;
                uint64_t t;
        } value;
        int r = sd_bus_message_read_basic(message, type, &value);

        if (r < 0)
                return r;
        switch (type) {
        case 'y':
                g_string_append_printf(text, "%u", value.y);
                break;
        case 'b':
                g_string_append(text, value.b ? "true" : "false");
                break;
        case 'n':
                g_string_append_printf(text, "%d", value.n);
                break;
        case 'q':
                g_string_append_printf(text, "%u", value.q);
                break;
        case 'i':
                g_string_append_printf(text, "%" PRId32, value.i);
                break;
        case 'u':
                g_string_append_printf(text, "%" PRIu32, value.u);
                break;
        case 'x':
                g_string_append_printf(text, "%" PRId64, value.x);
                break;
        default:
                g_string_append_printf(text, "%" PRIu64, value.t);
                break;
        }
        return 0;
}

static int append_text(sd_bus_message *message, char type, GString *text) {
        g_autofree char *safe = NULL;
        const char *value;
        int r = sd_bus_message_read_basic(message, type, &value);

        if (r < 0)
                return r;
        safe = harmless(value, TEXT_MAX);
        g_string_append_printf(text, "'%s'", safe);
        return 0;
}

static int append_basic(sd_bus_message *message, char type, GString *text) {
        if (strchr("ybnqiuxt", type))
                return append_number(message, type, text);
        if (strchr("sog", type))
                return append_text(message, type, text);
        g_string_append(text, "...");
        return -EOPNOTSUPP;
}

/* [text, ...]; so much of it that the arguments behind it have room, too. */
static int append_strings(sd_bus_message *message, GString *text) {
        unsigned n = 0, n_left_out = 0;
        int r = sd_bus_message_enter_container(message, 'a', "s");

        g_string_append_c(text, '[');
        while (r >= 0 && (r = sd_bus_message_at_end(message, false)) == 0)
                if (n_left_out >= COUNTED_MAX) {
                        g_string_append(text, ", ...]");
                        return -E2BIG;
                } else if (text->len > ARGUMENTS_MAX / 2) {
                        n_left_out++;
                        r = sd_bus_message_skip(message, "s");
                } else {
                        g_string_append(text, n++ > 0 ? ", " : "");
                        r = append_text(message, 's', text);
                }
        if (r >= 0)
                r = sd_bus_message_exit_container(message);
        if (n_left_out > 0)
                g_string_append_printf(text, ", and %u more", n_left_out);
        g_string_append_c(text, ']');
        return r;
}

/* {name: value, ...} */
static int append_options(sd_bus_message *message, GString *text) {
        const char *separator = "{", *name, *contents;
        char type;
        int r = sd_bus_message_enter_container(message, 'a', "{sv}");

        while (r >= 0 && (r = sd_bus_message_enter_container(message, 'e', "sv")) > 0) {
                g_autofree char *safe = NULL;

                if (text->len > ARGUMENTS_MAX) {
                        g_string_append(text, ", ...}");
                        return -E2BIG;
                }
                r = sd_bus_message_read(message, "s", &name);
                if (r < 0)
                        return r;
                safe = harmless(name, TEXT_MAX);
                g_string_append_printf(text, "%s%s: ", separator, safe);
                separator = ", ";
                r = sd_bus_message_peek_type(message, &type, &contents);
                if (r >= 0)
                        r = sd_bus_message_enter_container(message, 'v', contents);
                if (r >= 0)
                        r = append_basic(message, contents[0], text);
                if (r >= 0)
                        r = sd_bus_message_exit_container(message);
                if (r >= 0)
                        r = sd_bus_message_exit_container(message);
        }
        if (r >= 0)
                r = sd_bus_message_exit_container(message);
        g_string_append(text, separator[0] == '{' ? "{}" : "}");
        return r;
}

char *request_log_arguments(sd_bus_message *message) {
        g_autoptr(GString) text = g_string_new(NULL);
        const char *contents;
        char type;
        int r = sd_bus_message_rewind(message, true);

        while (r >= 0 && sd_bus_message_peek_type(message, &type, &contents) > 0) {
                if (text->len > 0)
                        g_string_append(text, ", ");
                if (text->len > ARGUMENTS_MAX) {
                        g_string_append(text, "...");
                        break;
                }
                if (type == 'a' && strcmp(contents, "{sv}") == 0)
                        r = append_options(message, text);
                else if (type == 'a' && strcmp(contents, "s") == 0)
                        r = append_strings(message, text);
                else
                        r = append_basic(message, type, text);
        }
        (void) sd_bus_message_rewind(message, true);
        return g_string_free(g_steal_pointer(&text), FALSE);
}

/* The function that the call is about, by its path or by its first argument. */
static bool find_address(const Method *method, sd_bus_message *message, PciAddress *ret) {
        const char *text;
        PciKey key;
        bool found;

        if (!method->names) {
                if (function_path_parse(sd_bus_message_get_path(message), &key) < 0)
                        return false;
                *ret = pci_address_from_key(key);
                return true;
        }
        found = sd_bus_message_rewind(message, true) >= 0 &&
                sd_bus_message_read(message, "s", &text) > 0 && pci_address_parse(text, ret) == 0;
        (void) sd_bus_message_rewind(message, true);
        return found;
}

static void print(RequestLog *log, const MethodCall *call, int level, const char *end) {
        const Method *method = call->method;
        g_autofree char *arguments = NULL;
        PciAddress address;
        unsigned n_left_out;
        bool has_address;

        if (!method || !method->action)
                return;
        if (method->repeats)
                level = LOG_DEBUG; /* loads and stores come by the thousand */
        if (level > log_get_level() ||
            !request_log_take(log, call->uid, (uint64_t) g_get_monotonic_time(), &n_left_out))
                return;
        if (n_left_out > 0)
                log_full(LOG_NOTICE, NULL, LOG_ID_REQUEST,
                         "%u lines about requests of uid %u were left out: there were too many",
                         n_left_out, call->uid);
        arguments = request_log_arguments(call->message);
        has_address = find_address(method, call->message, &address);
        log_full(level, has_address ? &address : NULL, LOG_ID_REQUEST,
                 "%s(%s) by uid %u, pid %u (%s): %s", method->member, arguments, call->uid,
                 call->pid, call->command, end);
}

void request_log_begin(RequestLog *log, const MethodCall *call) {
        print(log, call, LOG_INFO, "begun");
}

void request_log_end(RequestLog *log, const MethodCall *call, const sd_bus_error *error) {
        g_autofree char *message = NULL, *end = NULL;
        const char *name;

        if (!error) {
                print(log, call, LOG_INFO, "done");
                return;
        }
        name = error->name && strrchr(error->name, '.') ? strrchr(error->name, '.') + 1 : "Failed";
        message = harmless(error->message ? error->message : "", 4 * ARGUMENTS_MAX);
        end = g_strdup_printf("%s: %s", name, message);
        print(log, call, LOG_NOTICE, end);
}
