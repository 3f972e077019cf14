#include "cli/verbs.h"

#include "cli/suggest.h"
#include "cli/vocabulary.h"

#include <string.h>

#define USAGE_COLUMNS 23

/* In the order of --help. */
/* clang-format off */
static const Verb *const verbs[] = {
        &verb_list,
        &verb_show,
        &verb_status,
        &verb_monitor,
        &verb_top,
        &verb_log,
        &verb_metrics,
        &verb_why,
        &verb_users,
        &verb_inhibitors,
        &verb_inhibit,
        &verb_open,
        &verb_bind,
        &verb_unbind,
        &verb_reset,
        &verb_set_vfs,
        &verb_set_autoprobe,
        &verb_unplug,
        &verb_cancel_unplug,
        &verb_io,
        &verb_io_serve,
        &verb_lock,
        &verb_unlock,
        &verb_release_all,
        &verb_reload,
        &verb_check_config,
        &verb_record,
        &verb_replay,
        &verb_libvirt_hook,
        &verb_help,
        &verb_completion_table,
        &verb_completion_names,
};
/* clang-format on */

const Verb *verb_next(const Verb *verb) {
        size_t next = 0;

        while (verb && verbs[next++] != verb)
                ;
        return next < G_N_ELEMENTS(verbs) ? verbs[next] : NULL;
}

const Verb *verb_find(const char *name) {
        verb_foreach (verb)
                if (g_str_equal(verb->name, name))
                        return verb;
        return NULL;
}

const Verb *verb_with_option(const char *name) {
        verb_foreach (verb)
                option_foreach (option, verb->options)
                        if (g_str_equal(option->name, name))
                                return verb;
        return NULL;
}

/* The name of the verb that a person meant who typed `name`, which is none; or NULL. */
static const char *verb_nearest(const char *name) {
        const char *names[G_N_ELEMENTS(verbs) + 1] = { NULL };
        size_t n = 0;

        verb_foreach (verb) {
                const char *operations = vocabulary_operations(verb->name);

                if (operations && g_str_equal(operations, name))
                        return verb->name;
                if (!verb->hidden)
                        names[n++] = verb->name;
        }
        return suggest_nearest(name, names);
}

const Verb *verb_find_or_complain(const char *name) {
        const Verb *verb = verb_find(name);
        g_autofree char *question = suggest_question(verb ? NULL : verb_nearest(name));

        if (!verb)
                print_error("There is no verb '%s'%s", name, question);
        return verb;
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
        verb_foreach (verb) {
                g_autofree char *usage = g_strdup_printf("%s %s", verb->name, verb->arguments);

                if (verb->hidden)
                        continue;
                if (strlen(usage) > USAGE_COLUMNS)
                        output_format(output, "  %s\n  %*s  %s\n", usage, USAGE_COLUMNS, "",
                                      verb->help);
                else
                        output_format(output, "  %-*s  %s\n", USAGE_COLUMNS, usage, verb->help);
        }
}
