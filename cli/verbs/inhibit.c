#include "cli/agent.h"
#include "cli/arguments.h"
#include "cli/cleanup.h"
#include "cli/client.h"
#include "cli/function/subject.h"
#include "cli/verbs.h"
#include "cli/verbs/child.h"
#include "cli/vocabulary.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* All operations that take the function from its users. Not open: that would keep a virtual machine
 * from starting, and is to be asked for. */
#define WHAT_DEFAULT "set-num-vfs:set-autoprobe:bind:unbind:reset:remove:power-off:disable-pasid"

/* What the daemon takes of `who` and `why`. */
#define TEXT_MAX 256

/* The command as text for other people, made valid and cut at a character. */
static char *describe_command(char **command) {
        g_autofree char *joined = g_strjoinv(" ", command);
        g_autofree char *text = g_utf8_make_valid(joined, -1);

        if (strlen(text) <= TEXT_MAX)
                return g_steal_pointer(&text);
        return g_strndup(text, (gsize) (g_utf8_find_prev_char(text, text + TEXT_MAX + 1) - text));
}

/* An inhibitor that blocks is one of Inhibit(), which every daemon has. */
static int inhibit_call(Context *context, const char *address, const char *what, const char *who,
                        const char *why, sd_bus_error *ret_error, sd_bus_message **ret_reply) {
        if (context->delay)
                return client_call(context, CLIENT_ROOT, CLIENT_MANAGER, "InhibitWithOptions",
                                   CALL_INTERACTIVE, ret_error, ret_reply, "ssssa{sv}", address,
                                   what, who, why, 1, "mode", "s", "delay");
        return client_call(context, CLIENT_ROOT, CLIENT_MANAGER, "Inhibit", CALL_INTERACTIVE,
                           ret_error, ret_reply, "ssss", address, what, who, why);
}

/* Takes the inhibitor. `*ret_fd` is the caller's, and not inherited by what it executes. */
static int inhibit_take(Context *context, const char *address, const char *what, char **command,
                        sd_bus_error *ret_error, int *ret_fd) {
        g_autoptr(sd_bus_message) reply = NULL;
        g_autofree char *name = g_path_get_basename(command[0]);
        char *words[] = { name, NULL };
        g_autofree char *who = describe_command(words);
        g_autofree char *why = describe_command(command);
        int fd, r;

        r = inhibit_call(context, address, what, context->who ? context->who : who,
                         context->why ? context->why : why, ret_error, &reply);
        if (r < 0)
                return r;
        r = sd_bus_message_read(reply, "h", &fd); /* stays the message's */
        if (r < 0)
                return r;
        fd = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
        if (fd < 0)
                return -errno;
        *ret_fd = fd;
        return 0;
}

/* What --what says in the daemon's words; the caller's, or NULL after printing what is wrong. */
static char *read_what(const Context *context) {
        g_autofree char *word = NULL;
        char *what;

        if (!context->what)
                return g_strdup(WHAT_DEFAULT);
        if (!argument_is_text("--what", context->what))
                return NULL;
        what = vocabulary_translate(context->what, &word);
        if (!what)
                print_error("%s takes no function away, so it cannot be inhibited", word);
        return what;
}

/* The nearest to the first word in `what` that nobody knows. */
static void hint_what(const char *what) {
        g_auto(GStrv) words = g_strsplit(what, ":", -1);

        for (char **word = words; *word; word++)
                if (!vocabulary_operations(*word)) {
                        const char *meant = vocabulary_nearest(*word);

                        if (meant)
                                print_hint("'%s': did you mean '%s'?", *word, meant);
                        return;
                }
}

static ExitCode run_inhibit(Context *context, char **arguments) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        g_autofree char *address = NULL, *what = NULL;
        ExitCode code;
        int fd = -1, r;

        if (context->list && !arguments[0])
                return verb_inhibitors.run(context, arguments);
        if (context->list || !arguments[0] || !arguments[1] || !context->separated) {
                print_error("inhibit needs an address, -- and a command: vfwarden inhibit ADDRESS "
                            "-- COMMAND...; or --list alone");
                return EXIT_CODE_USAGE;
        }
        if (context->host) {
                print_error("An inhibitor ends with its process, so it cannot be on another "
                            "host");
                return EXIT_CODE_USAGE;
        }
        code = subject_find(context, arguments[0], &address);
        if (code != EXIT_CODE_DONE)
                return code;
        if (!(what = read_what(context)) ||
            (context->who && !argument_is_text("--who", context->who)) ||
            (context->why && !argument_is_text("--why", context->why)))
                return EXIT_CODE_USAGE;

        r = inhibit_take(context, address, what, arguments + 1, &error, &fd);
        if (r < 0) {
                code = client_fail(context, r, &error, "Cannot inhibit anything on %s", address);
                if (code == EXIT_CODE_USAGE)
                        hint_what(what);
                return code;
        }

        /* The command may run for weeks; it is the descriptor that counts. */
        agent_end(&context->agent);
        context->bus = sd_bus_flush_close_unref(context->bus);
        code = child_run(context, arguments + 1);
        (void) close(fd);
        return code;
}

static bool read_inhibit_mode(Context *context, const char *value) {
        context->delay = g_str_equal(value, "delay");
        if (context->delay || g_str_equal(value, "block"))
                return true;
        print_error("--mode is block or delay, not '%s'", value);
        return false;
}

static const Option inhibit_options[] = {
        { .name = "what",
          .value = "OPERATIONS",
          .member = offsetof(Context, what),
          .help = "which, joined by \":\" (all but open)" },
        { .name = "mode",
          .value = "block|delay",
          .read = read_inhibit_mode,
          .help = "whether an unplug is refused, or asks first and waits (block)" },
        OPTION_TEXT("who", "TEXT", who, "who inhibits (the name of COMMAND)"),
        OPTION_TEXT("why", "TEXT", why, "why (COMMAND and its arguments)"),
        OPTION_SWITCH("list", list, "as the verb inhibitors"),
        { NULL },
};

const Verb verb_inhibit = {
        .name = "inhibit",
        .arguments = "ADDRESS -- COMMAND...",
        .max = INT_MAX,
        .run = run_inhibit,
        .help = "Inhibit operations on it while COMMAND runs",
        .options = inhibit_options,
};
