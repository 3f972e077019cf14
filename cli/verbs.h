/* verbs.h: the verbs, one file per group.
 *
 * Owns the table of them: names, arguments, what --help says of each.
 * A verb gets its arguments, as many as its row in the table allows, and NULL after them. It
 * prints its own errors, leaves its output in the context's buffer and returns the exit code. */
#pragma once

#include "cli/context.h"
#include "cli/exit-code.h"

typedef struct Verb {
        const char *name;
        const char *arguments; /* as --help shows them */
        int min, max;
        ExitCode (*run)(Context *context, char **arguments);
        const char *help;
} Verb;

/* The verb called `name`, or NULL. */
const Verb *verb_find(const char *name);

/* The name of the verb that a person meant who typed `name`, which is none; or NULL. */
const char *verb_nearest(const char *name);

/* Whether `n` is as many arguments as the verb takes; prints an error if not. */
bool verb_check_count(const Verb *verb, int n, char **arguments);

/* Adds two columns: each verb with its arguments, and what it does. */
void verbs_print_help(Output *output);

ExitCode verb_list(Context *context, char **arguments);
ExitCode verb_show(Context *context, char **arguments);
ExitCode verb_status(Context *context, char **arguments);
ExitCode verb_monitor(Context *context, char **arguments);
ExitCode verb_lock(Context *context, char **arguments);
ExitCode verb_unlock(Context *context, char **arguments);
ExitCode verb_release_all(Context *context, char **arguments);
ExitCode verb_reload(Context *context, char **arguments);
ExitCode verb_check_config(Context *context, char **arguments);
ExitCode verb_why(Context *context, char **arguments);
ExitCode verb_users(Context *context, char **arguments);
ExitCode verb_inhibitors(Context *context, char **arguments);
ExitCode verb_inhibit(Context *context, char **arguments);
ExitCode verb_bind(Context *context, char **arguments);
ExitCode verb_unbind(Context *context, char **arguments);
ExitCode verb_reset(Context *context, char **arguments);
ExitCode verb_set_vfs(Context *context, char **arguments);
ExitCode verb_set_autoprobe(Context *context, char **arguments);
ExitCode verb_unplug(Context *context, char **arguments);
ExitCode verb_cancel_unplug(Context *context, char **arguments);
ExitCode verb_libvirt_hook(Context *context, char **arguments);
ExitCode verb_open(Context *context, char **arguments);
ExitCode verb_io(Context *context, char **arguments);
