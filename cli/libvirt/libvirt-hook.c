/* What libvirt runs when a domain starts and ends (https://libvirt.org/hooks.html). It must not
 * call libvirt, which waits for it meanwhile. */
#include "cli/arguments.h"
#include "cli/cleanup.h"
#include "cli/client.h"
#include "cli/libvirt/domain.h"
#include "cli/libvirt/guard.h"
#include "cli/verbs.h"
#include "policy/client-text.h"

#include <errno.h>
#include <string.h>
#include <systemd/sd-journal.h>
#include <unistd.h>

/* For systemd, which is never away for long. */
#define SYSTEMD_TIMEOUT_USEC (20 * G_USEC_PER_SEC)

/* What the daemon takes of `who`. A name of libvirt's may have all that client_text_valid()
 * refuses, but for a line feed. */
#define WHO_MAX 256

typedef struct Hook {
        Context *context;
        const char *name; /* of the domain */
        char *who;        /* of its inhibitors */
        Domain *domain;
} Hook;

static void hook_done(Hook *hook) {
        g_free(hook->who);
        domain_free(hook->domain);
}

static char *make_who(const char *name) {
        g_autofree char *text = g_strdup_printf("domain %s", name);

        return client_text_fit(text, WHO_MAX);
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

/* Guards the domain's functions; if `checking`, only if nothing stands against its having them. */
static ExitCode guard(const Hook *hook, bool checking) {
        return guard_domain(&(GuardRequest){
                .context = hook->context,
                .domain = hook->domain,
                .name = hook->name,
                .who = hook->who,
                .checking = checking,
        });
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

static void say_not_guarded(const Hook *hook) {
        print_error("Domain %s: not guarded: %s", hook->name, hook->domain->not_guarded);
        (void) sd_journal_print(LOG_NOTICE, "Domain %s: not guarded: %s", hook->name,
                                hook->domain->not_guarded);
}

static ExitCode on_start(Hook *hook) {
        ExitCode code = read_domain(hook);

        if (code == EXIT_CODE_DONE && hook->domain->not_guarded)
                say_not_guarded(hook);
        if (code == EXIT_CODE_DONE && hook->domain->functions->len > 0)
                code = guard(hook, true);
        return code == EXIT_CODE_DONE || code == EXIT_CODE_REFUSED ? code : unguarded(hook, code);
}

/* libvirtd was restarted while the domain ran. It ends the domain if this fails, so it does not. A
 * guard of before may still be there. */
static ExitCode on_reconnect(Hook *hook) {
        ExitCode code = read_domain(hook);

        if (code == EXIT_CODE_DONE && hook->domain->functions->len > 0)
                code = guard(hook, false);
        if (code != EXIT_CODE_DONE)
                (void) sd_journal_print(LOG_WARNING,
                                        "Failed to guard the PCI functions of the running domain "
                                        "%s: %s",
                                        hook->name, exit_code_description(code));
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
        if (context_is_elsewhere(context)) {
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
