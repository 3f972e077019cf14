/* What libvirt runs when a domain starts and ends (https://libvirt.org/hooks.html). It must not
 * call libvirt, which waits for it meanwhile. */
#include "cli/arguments.h"
#include "cli/cleanup.h"
#include "cli/client.h"
#include "cli/holders.h"
#include "cli/libvirt/domain.h"
#include "cli/libvirt/guard.h"
#include "cli/verbs.h"

#include <errno.h>
#include <string.h>
#include <systemd/sd-journal.h>
#include <unistd.h>

/* For the daemon's first answer: a host is not to wait for one that is away or hangs. */
#define DAEMON_TIMEOUT_USEC (2 * G_USEC_PER_SEC)
/* For all its answers, once it has given one: it may have to wait for polkit, which has to be
 * started. */
#define ANSWERS_TIMEOUT_USEC (10 * G_USEC_PER_SEC)
/* For systemd, which is never away for long. */
#define SYSTEMD_TIMEOUT_USEC (20 * G_USEC_PER_SEC)

/* What the daemon takes of `who`. */
#define WHO_MAX 256

typedef struct Hook {
        Context *context;
        const char *name; /* of the domain */
        char *who;        /* of its inhibitors */
        Domain *domain;
        gint64 deadline; /* of the daemon's next answer */
} Hook;

static void hook_done(Hook *hook) {
        g_free(hook->who);
        domain_free(hook->domain);
}

/* The same for every run of the hook: it also marks a domain's own inhibitors. */
static char *make_who(const char *name) {
        g_autofree char *text = g_strdup_printf("domain %s", name);
        g_autofree char *valid = g_utf8_make_valid(text, -1);

        if (strlen(valid) <= WHO_MAX)
                return g_steal_pointer(&valid);
        return g_strndup(valid,
                         (gsize) (g_utf8_find_prev_char(valid, valid + WHO_MAX + 1) - valid));
}

static bool read_input(GString *input) {
        char buffer[16384];
        ssize_t n;

        while ((n = read(STDIN_FILENO, buffer, sizeof(buffer))) != 0) {
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0 || input->len + (size_t) n > DOMAIN_XML_MAX) {
                        print_error("Cannot read the domain's XML: %s",
                                    n < 0 ? g_strerror(errno) : "it is too long");
                        return false;
                }
                g_string_append_len(input, buffer, n);
        }
        return true;
}

static ExitCode read_domain(Hook *hook) {
        g_autoptr(GString) input = g_string_new(NULL);
        g_autofree char *why = NULL;

        if (!read_input(input))
                return EXIT_CODE_FAILED;
        if (domain_parse(input->str, input->len, &hook->domain, &why) < 0) {
                print_error("The XML of the domain %s is not understood: %s", hook->name, why);
                return EXIT_CODE_FAILED;
        }
        return EXIT_CODE_DONE;
}

/* Whether the domain has inhibitors on all its functions. */
static bool is_guarded(const Hook *hook, JsonArray *inhibitors) {
        for (guint i = 0; i < hook->domain->functions->len; i++) {
                const DomainFunction *function = hook->domain->functions->pdata[i];
                bool found = false;

                for (guint j = 0; j < json_array_get_length(inhibitors) && !found; j++) {
                        JsonObject *inhibitor = json_array_get_object_element(inhibitors, j);

                        found = g_str_equal(function_string(inhibitor, "Address"),
                                            function->address) &&
                                g_str_equal(function_string(inhibitor, "Who"), hook->who);
                }
                if (!found)
                        return false;
        }
        return true;
}

typedef struct Blocker {
        const char *kind, *subject, *reason;
        uint32_t pid;
} Blocker;

/* Not everything that keeps a function from being opened now keeps libvirt from giving it to the
 * domain:
 * - a managed function's driver on the host, for libvirt unbinds it; a blocker "driver" ("group"
 *   with no process, of an older daemon) of the function itself and, as its peer, of each other one
 *   that it shares the IOMMU group with. A peer whose user is not found has "user" when the peer is
 *   asked about itself;
 * - the inhibitor that was placed in the domain's own name. */
static bool counts(const Hook *hook, const Blocker *blocker) {
        if (g_str_equal(blocker->kind, "inhibitor"))
                return !g_str_equal(blocker->subject, hook->who);
        if (g_str_equal(blocker->kind, "driver") ||
            (g_str_equal(blocker->kind, "group") && blocker->pid == 0)) {
                const DomainFunction *function = domain_find(hook->domain, blocker->subject);

                return !function || !function->managed;
        }
        return true;
}

/* One line for each: libvirt shows what the hook says as the reason why the domain does not
 * start. */
static void libvirt_hook_print_blocker(const Hook *hook, const char *address,
                                       const Blocker *blocker) {
        if (g_str_equal(blocker->subject, address))
                print_error("Domain %s cannot have %s: %s", hook->name, address, blocker->reason);
        else if (g_str_equal(blocker->kind, "inhibitor"))
                print_error("Domain %s cannot have %s: %s %s", hook->name, address,
                            blocker->subject, blocker->reason);
        else
                print_error("Domain %s cannot have %s: %s: %s", hook->name, address,
                            blocker->subject, blocker->reason);
}

/* Prints what stands against the domain's having the function at `address`. */
static int read_verdict(const Hook *hook, const char *address, sd_bus_message *reply,
                        bool *ret_refused) {
        Blocker blocker;
        int r, allowed;

        r = sd_bus_message_read(reply, "b", &allowed);
        if (r >= 0)
                r = sd_bus_message_enter_container(reply, SD_BUS_TYPE_ARRAY, "(sssu)");
        while (r >= 0 && (r = sd_bus_message_read(reply, "(sssu)", &blocker.kind, &blocker.subject,
                                                  &blocker.reason, &blocker.pid)) > 0)
                if (counts(hook, &blocker)) {
                        libvirt_hook_print_blocker(hook, address, &blocker);
                        *ret_refused = true;
                }
        return r;
}

static const char *address_of(const Hook *hook, guint i) {
        return ((const DomainFunction *) hook->domain->functions->pdata[i])->address;
}

static int make_check(const Hook *hook, const char *address, ClientCall *ret) {
        int r;

        r = client_new_call(hook->context, CLIENT_ROOT, CLIENT_MANAGER, "Check", 0, &ret->call);
        return r < 0 ? r : sd_bus_message_append(ret->call, "ss", address, "open");
}

static int ask_all(const Hook *hook, ClientCall *calls, guint n) {
        int r = 0;

        guard_limit_calls(hook->context, hook->deadline);
        for (guint i = 0; r >= 0 && i < n; i++)
                r = make_check(hook, address_of(hook, i), &calls[i]);
        return r < 0 ? r : client_call_all(hook->context, calls, n);
}

static ExitCode check_all(const Hook *hook) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        guint n = hook->domain->functions->len, i;
        ClientCall *calls = g_new0(ClientCall, n);
        bool refused = false;
        int r;

        r = ask_all(hook, calls, n);
        for (i = 0; r >= 0 && i < n; i++) {
                r = client_call_result(&calls[i], &error);
                if (r >= 0)
                        r = read_verdict(hook, address_of(hook, i), calls[i].reply, &refused);
        }
        client_calls_free(calls, n);
        if (r < 0)
                return client_fail(hook->context, r, &error, "Cannot ask about %s",
                                   address_of(hook, MAX(i, 1) - 1));
        return refused ? EXIT_CODE_REFUSED : EXIT_CODE_DONE;
}

/* Guards the domain's functions, if nothing stands against its having them. */
static ExitCode guard(Hook *hook, bool asking) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        _cleanup_(guard_drop) Guard guard = { .fd = -1 };
        g_autoptr(JsonArray) inhibitors = NULL;
        ExitCode code;
        int r;

        hook->deadline = g_get_monotonic_time() + DAEMON_TIMEOUT_USEC;
        /* Most domains are not guarded yet, and on a busy bus each round takes its time: the guard
         * gets ready meanwhile. */
        code = guard_start(hook->domain, hook->who, hook->deadline + ANSWERS_TIMEOUT_USEC, &guard);
        if (code != EXIT_CODE_DONE)
                return code;
        r = client_connect(hook->context);
        if (r >= 0) {
                guard_limit_calls(hook->context, hook->deadline);
                r = holders_list_inhibitors(hook->context, 0, &error, &inhibitors);
        }
        if (r < 0)
                return client_fail(hook->context, r, &error, "Cannot ask who inhibits what");
        if (is_guarded(hook, inhibitors))
                return EXIT_CODE_DONE;

        hook->deadline = g_get_monotonic_time() + ANSWERS_TIMEOUT_USEC;
        /* First inhibited, then asked: of two that start at a time, none overlooks the other. */
        code = guard_inhibit(&guard, hook->deadline);
        if (code == EXIT_CODE_DONE && asking)
                code = check_all(hook);
        if (code != EXIT_CODE_DONE)
                return code;
        return guard_install(hook->context, hook->domain, hook->name,
                             g_get_monotonic_time() + SYSTEMD_TIMEOUT_USEC, &guard);
}

/* The domain has or gets functions that are not guarded, for another reason than that somebody has
 * them. */
static ExitCode unguarded(const Hook *hook, ExitCode code) {
        if (!hook->context->allow_unguarded) {
                print_error("Domain %s is not started, for it would not be guarded "
                            "(--unguarded=refuse)",
                            hook->name);
                return code;
        }
        /* Of a hook that succeeds, libvirt shows nothing. */
        print_error("Domain %s starts and is not guarded (--unguarded=allow)", hook->name);
        (void) sd_journal_print(LOG_WARNING,
                                "Domain %s starts, and its PCI functions are not guarded: %s",
                                hook->name, exit_code_description(code));
        return EXIT_CODE_DONE;
}

static ExitCode on_start(Hook *hook) {
        ExitCode code = read_domain(hook);

        if (code == EXIT_CODE_DONE && hook->domain->functions->len > 0)
                code = guard(hook, true);
        return code == EXIT_CODE_DONE || code == EXIT_CODE_REFUSED ? code : unguarded(hook, code);
}

/* libvirtd was restarted while the domain ran. It ends the domain if this fails, so it does not. */
static ExitCode on_reconnect(Hook *hook) {
        if (read_domain(hook) == EXIT_CODE_DONE && hook->domain->functions->len > 0)
                (void) guard(hook, false);
        return EXIT_CODE_DONE;
}

/* Also after a start that failed, wherever it did. What the domain has now may be less than it
 * began with. */
static ExitCode on_release(Hook *hook) {
        ExitCode code = read_domain(hook);
        int r;

        if (code != EXIT_CODE_DONE)
                return code;
        r = client_connect(hook->context);
        if (r < 0)
                return client_fail(hook->context, r, NULL, "Cannot release the functions");
        return guard_release(hook->context, hook->domain,
                             g_get_monotonic_time() + SYSTEMD_TIMEOUT_USEC);
}

static ExitCode run_libvirt_hook(Context *context, char **arguments) {
        static const struct {
                const char *operation;
                ExitCode (*run)(Hook *hook);
        } operations[] = {
                { "prepare", on_start },
                { "start", on_start }, /* by now libvirt has chosen functions of networks */
                { "reconnect", on_reconnect },
                { "release", on_release },
        };
        _cleanup_(hook_done) Hook hook = { .context = context, .name = arguments[0] };

        if (!arguments[0] || !arguments[1]) {
                print_error(
                        "libvirt-hook needs what libvirt tells its hooks: vfwarden libvirt-hook "
                        "DOMAIN OPERATION SUB-OPERATION EXTRA, and XML on standard input");
                return EXIT_CODE_USAGE;
        }
        if (context->host) {
                print_error("The guard of a domain is a process of the domain's host, so there is "
                            "no libvirt-hook for another one");
                return EXIT_CODE_USAGE;
        }
        for (size_t i = 0; i < G_N_ELEMENTS(operations); i++) {
                if (!g_str_equal(arguments[1], operations[i].operation))
                        continue;
                hook.who = make_who(hook.name);
                return operations[i].run(&hook);
        }
        return EXIT_CODE_DONE; /* nothing to do at the others */
}

static bool read_unguarded(Context *context, const char *value) {
        return argument_read_unguarded(value, &context->allow_unguarded);
}

static const Option libvirt_hook_options[] = {
        { .name = "unguarded",
          .value = "allow|refuse",
          .read = read_unguarded,
          .help = "whether a domain starts that cannot be guarded, as without a daemon (refuse)" },
        { NULL },
};

const Verb verb_libvirt_hook = {
        .name = "libvirt-hook",
        .arguments = "DOMAIN OPERATION SUB-OPERATION EXTRA",
        .max = 4,
        .run = run_libvirt_hook,
        .help = "The hook of libvirt: guard a domain's functions",
        .options = libvirt_hook_options,
        .offers = "- prepare|start|reconnect|release",
};
