#include "cli/verbs.h"

#include "cli/suggest.h"
#include "cli/vocabulary.h"

#include <limits.h>
#include <string.h>

#define USAGE_COLUMNS 23

static const Verb verbs[] = {
        { "list", "", 0, 0, verb_list, "All PCI functions, VFs below their physical one" },
        { "show", "ADDRESS", 1, 1, verb_show, "Everything known about one function" },
        { "status", "", 0, 0, verb_status, "The daemon, and how much is in use and locked" },
        { "monitor", "", 0, 0, verb_monitor, "A line for each change, until interrupted" },
        { "why", "ADDRESS [OPERATION]", 1, 2, verb_why,
          "What stands against it, and what to do about that" },
        { "users", "[ADDRESS]", 0, 1, verb_users, "The processes that have functions open" },
        { "inhibitors", "", 0, 0, verb_inhibitors, "Who keeps operations from being done" },
        { "inhibit", "ADDRESS -- COMMAND...", 0, INT_MAX, verb_inhibit,
          "Keep operations from being done while COMMAND runs" },
        { "open", "ADDRESS -- COMMAND...", 0, INT_MAX, verb_open,
          "Run COMMAND with it opened through VFIO" },
        { "bind", "ADDRESS [DRIVER]", 1, 2, verb_bind,
          "Bind it to DRIVER, or to the kernel's choice" },
        { "unbind", "ADDRESS", 1, 1, verb_unbind, "Unbind it from its driver" },
        { "reset", "ADDRESS", 1, 1, verb_reset, "Reset it" },
        { "set-vfs", "ADDRESS COUNT", 2, 2, verb_set_vfs, "Enable so many virtual functions" },
        { "set-autoprobe", "ADDRESS yes|no", 2, 2, verb_set_autoprobe,
          "Whether new virtual functions get a driver" },
        { "unplug", "ADDRESS", 1, 1, verb_unplug, "Ask its users to release it, and remove it" },
        { "cancel-unplug", "ADDRESS", 1, 1, verb_cancel_unplug, "Take such a request back" },
        { "io", "load|store ADDRESS SPACE OFFSET LENGTH|HEXBYTES", 5, 5, verb_io,
          "Load bytes from it, or store bytes to it" },
        { "lock", "ADDRESS [WHY]", 1, 2, verb_lock,
          "Close the files that remove, reset or reconfigure it" },
        { "unlock", "ADDRESS", 1, 1, verb_unlock,
          "Take such a lock back, and tell what still locks" },
        { "release-all", "", 0, 0, verb_release_all,
          "Open all closed files, before vfwarden is removed" },
        { "reload", "", 0, 0, verb_reload, "Have the daemon read its configuration again" },
        { "check-config", "[DIRECTORY]", 0, 1, verb_check_config,
          "Read the configuration, and say what is wrong" },
        { "libvirt-hook", "DOMAIN OPERATION SUB-OPERATION EXTRA", 0, 4, verb_libvirt_hook,
          "What libvirt runs: guard a domain's functions" },
};

const Verb *verb_find(const char *name) {
        for (size_t i = 0; i < G_N_ELEMENTS(verbs); i++)
                if (g_str_equal(verbs[i].name, name))
                        return &verbs[i];
        return NULL;
}

const char *verb_nearest(const char *name) {
        const char *names[G_N_ELEMENTS(verbs) + 1] = { NULL };

        for (size_t i = 0; i < G_N_ELEMENTS(verbs); i++) {
                const char *operations = vocabulary_operations(verbs[i].name);

                if (operations && g_str_equal(operations, name))
                        return verbs[i].name;
                names[i] = verbs[i].name;
        }
        return suggest_nearest(name, names);
}

/* What has to follow the `n` arguments that there are, fewer than the verb needs. */
static const char *missing(const Verb *verb, int n) {
        if (n == 0 && g_str_has_prefix(verb->arguments, "ADDRESS"))
                return "an address";
        return verb->min - n == 1 ? "one argument more" : "more arguments";
}

bool verb_check_count(const Verb *verb, int n, char **arguments) {
        if (n < verb->min) {
                print_error("%s needs %s: vfwarden %s %s", verb->name, missing(verb, n), verb->name,
                            verb->arguments);
                return false;
        }
        if (n > verb->max) {
                print_error("%s does not take '%s': vfwarden %s%s%s", verb->name,
                            arguments[verb->max], verb->name, verb->max > 0 ? " " : "",
                            verb->arguments);
                return false;
        }
        return true;
}

void verbs_print_help(Output *output) {
        for (size_t i = 0; i < G_N_ELEMENTS(verbs); i++) {
                g_autofree char *usage =
                        g_strdup_printf("%s %s", verbs[i].name, verbs[i].arguments);

                if (strlen(usage) > USAGE_COLUMNS)
                        output_format(output, "  %s\n  %*s  %s\n", usage, USAGE_COLUMNS, "",
                                      verbs[i].help);
                else
                        output_format(output, "  %-*s  %s\n", USAGE_COLUMNS, usage, verbs[i].help);
        }
}
