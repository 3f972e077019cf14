/* Loads and stores, by a session of the client library: what its users get, an administrator
 * sees. */
#include "cli/agent.h"
#include "cli/arguments.h"
#include "cli/cleanup.h"
#include "cli/client.h"
#include "cli/function/subject.h"
#include "cli/holders.h"
#include "cli/serve/io-serve.h"
#include "cli/verbs.h"
#include "lib/vfwarden-io.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ACCESS_MAX 4096 /* bytes, of a session's request */
#define END_USEC   (2 * G_USEC_PER_SEC)

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VfwardenIo, vfwarden_io_close)

typedef struct Access {
        bool store;
        char *address;
        unsigned pcias;
        uint64_t offset;
        GByteArray *bytes; /* to be stored; or as many as are to be loaded */
} Access;

static void access_clear(Access *access) {
        g_free(access->address);
        if (access->bytes)
                g_byte_array_unref(access->bytes);
}

static bool read_space(const char *text, unsigned *ret) {
        if (g_str_equal(text, "config"))
                *ret = VFWARDEN_IO_CONFIG;
        else if (text[0] >= '0' && text[0] <= '5' && text[1] == '\0')
                *ret = (unsigned) (text[0] - '0');
        else {
                print_error("'%s' is no address space: 0 to 5 are the BARs, config is the "
                            "configuration space",
                            text);
                return false;
        }
        return true;
}

static bool read_length(const char *text, GByteArray **ret) {
        uint64_t length;

        if (!argument_read_number("The length", text, &length))
                return false;
        if (length == 0 || length > ACCESS_MAX) {
                print_error("A load has 1 to %d bytes, not %s", ACCESS_MAX, text);
                return false;
        }
        *ret = g_byte_array_set_size(g_byte_array_new(), (guint) length);
        return true;
}

static ExitCode read_subject(Context *context, char **arguments, Access *access) {
        access->store = g_str_equal(arguments[0], "store");
        if (!access->store && !g_str_equal(arguments[0], "load")) {
                print_error("io does load or store, not '%s'", arguments[0]);
                return EXIT_CODE_USAGE;
        }
        return subject_find(context, arguments[1], &access->address);
}

static bool read_place(char **arguments, Access *access) {
        if (!read_space(arguments[2], &access->pcias) ||
            !argument_read_number("The offset", arguments[3], &access->offset))
                return false;
        if (access->store && access->pcias == VFWARDEN_IO_CONFIG) {
                print_error("The configuration space is for loads only");
                return false;
        }
        return access->store ? argument_read_bytes(arguments[4], ACCESS_MAX, &access->bytes)
                             : read_length(arguments[4], &access->bytes);
}

static ExitCode read_access(Context *context, char **arguments, Access *access) {
        ExitCode code = read_subject(context, arguments, access);

        if (code != EXIT_CODE_DONE)
                return code;
        return read_place(arguments, access) ? EXIT_CODE_DONE : EXIT_CODE_USAGE;
}

/* "BAR 0" or "the configuration space"; the caller's. */
static char *space_text(unsigned pcias) {
        return pcias == VFWARDEN_IO_CONFIG ? g_strdup("the configuration space")
                                           : g_strdup_printf("BAR %u", pcias);
}

/* The exit code of a session that could not be had. The function was there just before. */
static ExitCode open_exit_code(int r) {
        switch (r) {
        case -ENODEV:
                return EXIT_CODE_GONE;
        case -EBUSY:
                return EXIT_CODE_REFUSED;
        case -EAGAIN:
        case -EDQUOT:
                return EXIT_CODE_BUSY;
        case -ETIMEDOUT:
                return EXIT_CODE_TIMED_OUT;
        case -EOPNOTSUPP:
                return EXIT_CODE_NOT_SUPPORTED;
        case -EACCES:
                return EXIT_CODE_ACCESS_DENIED;
        default:
                return EXIT_CODE_FAILED;
        }
}

static ExitCode fail_to_open(const Access *access, int r, const char *why) {
        print_error("Cannot open an I/O session with %s: %s", access->address,
                    why && *why ? why : g_strerror(-r));
        return open_exit_code(r);
}

/* Why the rules, which are the session's, refuse the access. The caller's. */
static char *rule_text(const VfwardenIo *io, const Access *access) {
        g_autofree char *space = space_text(access->pcias);
        uint64_t size = vfwarden_io_size(io, access->pcias);

        if (size == 0)
                return g_strdup_printf("the function has no %s", space);
        if (access->offset >= size || access->bytes->len > size - access->offset)
                return g_strdup_printf("%s has %" G_GUINT64_FORMAT " bytes", space, size);
        if (!access->store)
                return g_strdup("a load takes 1 to 8 bytes inside one doubleword of a BAR, or what "
                                "the back end can do");
        return g_strdup_printf("a store takes what the back end %s can do at once, %zu bytes at "
                               "most; see vfwarden-io(7)",
                               vfwarden_io_backend(io), vfwarden_io_max_store_block(io));
}

static ExitCode fail_to_access(const VfwardenIo *io, const Access *access, int r) {
        g_autofree char *space = space_text(access->pcias);
        g_autofree char *why = NULL;
        ExitCode code = EXIT_CODE_FAILED;

        switch (r) {
        case -EINVAL:
                why = rule_text(io, access);
                code = EXIT_CODE_USAGE;
                break;
        case -EIO:
                why = g_strdup("the device refused");
                break;
        case -ENODEV:
                why = g_strdup("the function is being taken away");
                code = EXIT_CODE_GONE;
                break;
        case -ECONNRESET:
                why = g_strdup("the session was ended; vfwardend's journal says why");
                break;
        default:
                why = g_strdup(g_strerror(-r));
        }
        print_error("Cannot %s %u byte%s at 0x%" G_GINT64_MODIFIER "x of %s of %s: %s",
                    access->store ? "store" : "load", access->bytes->len,
                    access->bytes->len == 1 ? "" : "s", access->offset, space, access->address,
                    why);
        return code;
}

static char *hex_text(const GByteArray *bytes) {
        GString *text = g_string_new(NULL);

        for (guint i = 0; i < bytes->len; i++)
                g_string_append_printf(text, "%02x", bytes->data[i]);
        return g_string_free(text, FALSE);
}

static void io_print_json(Context *context, const VfwardenIo *io, const Access *access) {
        g_autofree char *data = hex_text(access->bytes);
        g_autofree char *space = access->pcias == VFWARDEN_IO_CONFIG
                                         ? g_strdup("config")
                                         : g_strdup_printf("%u", access->pcias);
        JsonObject *object = json_object_new();
        g_autoptr(JsonNode) node = json_node_init_object(json_node_alloc(), object);

        json_object_unref(object);
        json_object_set_string_member(object, "Address", access->address);
        json_object_set_string_member(object, "Space", space);
        json_object_set_int_member(object, "Offset", (gint64) access->offset);
        json_object_set_string_member(object, "Data", data);
        json_object_set_string_member(object, "Backend", vfwarden_io_backend(io));
        output_json(&context->output, node, true);
}

static void print_access(Context *context, const VfwardenIo *io, const Access *access) {
        if (context->json) {
                io_print_json(context, io, access);
        } else if (access->store) {
                g_autofree char *space = space_text(access->pcias);

                output_text(&context->output, STYLE_BOLD, access->address);
                output_format(&context->output,
                              ": stored %u byte%s at 0x%" G_GINT64_MODIFIER "x of %s\n",
                              access->bytes->len, access->bytes->len == 1 ? "" : "s",
                              access->offset, space);
        } else {
                g_autofree char *data = hex_text(access->bytes);

                output_format(&context->output, "%s\n", data);
        }
}

static int on_changed(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        return 0; /* it is for waking up */
}

/* Ends the session, and returns when the daemon knows, or it takes too long. Closing the device
 * resets it, which takes a while: who does one access after the other is not to be refused by
 * himself. */
static void end_session(Context *context, const char *address, const char *path, VfwardenIo *io) {
        gint64 end = g_get_monotonic_time() + END_USEC, left;
        int r = sd_bus_match_signal(context->bus, NULL, NULL, path,
                                    "org.freedesktop.DBus.Properties", "PropertiesChanged",
                                    on_changed, NULL);

        vfwarden_io_close(io);
        while (r >= 0 && (left = end - g_get_monotonic_time()) > 0) {
                _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
                g_autoptr(JsonArray) users = NULL;

                r = holders_list_users(context, address, 0, &error, &users);
                if (r < 0 || !holders_find(users, address, getpid()))
                        return;
                /* After an answer the client asks again. */
                r = sd_bus_process(context->bus, NULL);
                if (r == 0)
                        r = sd_bus_wait(context->bus, (uint64_t) left);
        }
}

#define ACCESS_ARGUMENTS "load|store ADDRESS SPACE OFFSET LENGTH|HEXBYTES"

/* `serve` takes other arguments than these two. */
static const Verb access_verb = {
        .name = "io",
        .arguments = ACCESS_ARGUMENTS,
        .min = 5,
        .max = 5,
};

static ExitCode run_io(Context *context, char **arguments) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        _cleanup_(access_clear) Access access = { 0 };
        g_autoptr(VfwardenIo) io = NULL;
        g_autofree char *path = NULL;
        char *why = NULL;
        ExitCode code;
        int r;

        bool serves = arguments[0] && g_str_equal(arguments[0], "serve");

        if (!serves && !verb_check_count(&access_verb, (int) g_strv_length(arguments), arguments)) {
                print_usage_hint();
                return EXIT_CODE_USAGE;
        }
        if (context_is_elsewhere(context)) {
                print_error("io works on this host only: a session is a socket, which no bus takes "
                            "to another host, and a container has a daemon of its own");
                return EXIT_CODE_USAGE;
        }
        if (serves)
                return io_serve(context, arguments + 1);
        if (context->socket || context->memory || context->dma || context->on_unplug ||
            context->qmp || context->device_id) {
                print_error("io %s takes no option of io serve", arguments[0]);
                return EXIT_CODE_USAGE;
        }
        code = read_access(context, arguments, &access);
        if (code != EXIT_CODE_DONE)
                return code;
        context->output.quiet = context->quiet && access.store && !context->json;

        /* The library tells these failures apart less well than the daemon does. */
        r = client_get_function(context, access.address, &error, &path);
        if (r < 0)
                return client_fail(context, r, &error, "Cannot open an I/O session with %s",
                                   access.address);
        agent_begin(context); /* for the library's call, which polkit may ask about */
        r = vfwarden_io_open(access.address, &why, &io);
        if (r < 0) {
                code = fail_to_open(&access, r, why);
                free(why);
                return code;
        }

        if (access.store)
                r = vfwarden_io_store(io, access.pcias, access.offset, access.bytes->data,
                                      access.bytes->len);
        else
                r = vfwarden_io_load(io, access.pcias, access.offset, access.bytes->data,
                                     access.bytes->len);
        code = r < 0 ? fail_to_access(io, &access, r) : EXIT_CODE_DONE;
        if (r >= 0)
                print_access(context, io, &access);
        end_session(context, access.address, path, g_steal_pointer(&io));
        return code;
}

static const Option io_options[] = {
        OPTION_TEXT("socket", "PATH", socket, "serve: where the client connects"),
        OPTION_TEXT("memory", "MIB", memory, "serve: how much the client maps at most"),
        OPTION_SWITCH("dma", dma, "serve: the device may access the client's memory"),
        OPTION_TEXT("on-unplug", "COMMAND", on_unplug, "serve: a shell runs it to release it"),
        OPTION_TEXT("qmp", "PATH", qmp, "serve: where the VMM takes device_del"),
        OPTION_TEXT("device-id", "ID", device_id, "serve: the device in that VMM"),
        { NULL },
};

const Verb verb_io = {
        .name = "io",
        .arguments = ACCESS_ARGUMENTS,
        .max = INT_MAX,
        .run = run_io,
        .help = "Load bytes from it, or store bytes to it",
        .options = io_options,
        .offers = "load|store|serve ADDRESS SPACE",
};

/* A line of --help; what it does is the verb above. */
const Verb verb_io_serve = {
        .name = "io",
        .arguments = "serve ADDRESS [-- COMMAND...]",
        .max = INT_MAX,
        .run = run_io,
        .help = "Give it to a VMM that connects to --socket=PATH",
};
