/* verbs.h: the verbs, one file per group in verbs/.
 *
 * Owns the list of them; each verb is declared in its file, with its options. From the list come
 * --help, the errors about usage and the completion of shells. A verb gets its arguments, as many
 * as it allows, and NULL after them. It prints its own errors, leaves its output in the context's
 * buffer and returns the exit code. */
#pragma once

#include "cli/context.h"
#include "cli/exit-code.h"

#include <limits.h>

typedef struct Option {
        const char *name;  /* without the dashes; NULL ends a table */
        char letter;       /* its short form, 0: there is none */
        const char *value; /* what --help calls its value; NULL: it takes none */
        /* What a shell offers for the value, as verbs/completion.c has it; NULL: what `value`
         * stands for.
         */
        const char *offers;
        const char *help;
        /* Takes the value. Returns false for one that is wrong, and has printed so. */
        bool (*read)(Context *context, const char *value);
        /* Without `read`: the member of Context that becomes true or, with a value, points to
         * it. */
        size_t member;
} Option;

/* Rows of a table. */
#define OPTION_SWITCH(option, to, text) \
        { .name = (option), .member = offsetof(Context, to), .help = (text) }
#define OPTION_TEXT(option, what, to, text) \
        { .name = (option), .value = (what), .member = offsetof(Context, to), .help = (text) }

/* Of the verbs that take a function from who uses it. */
#define OPTION_OVERRIDE_HOST                                 \
        OPTION_SWITCH("even-if-host-uses-it", override_host, \
                      "take it although the host itself uses it")

#define option_foreach(option, table) \
        for (const Option *option = (table); option && option->name; option++)

typedef struct Verb {
        const char *name;
        const char *arguments; /* as --help shows them */
        int min, max;          /* how many of them there are */
        ExitCode (*run)(Context *context, char **arguments);
        const char *help;
        const Option *options; /* NULL: none besides those of all verbs */
        /* What a shell offers for each argument, as verbs/completion.c has it; NULL: what
         * `arguments` says. */
        const char *offers;
        bool acts;   /* its output only says what was done: --quiet leaves it out */
        bool pages;  /* its output goes through a pager */
        bool hidden; /* for programs: --help and completion leave it out */
} Verb;

/* The first verb for NULL, and NULL after the last. */
const Verb *verb_next(const Verb *verb);

#define verb_foreach(verb) for (const Verb *verb = verb_next(NULL); verb; verb = verb_next(verb))

/* The verb called `name`, or NULL. */
const Verb *verb_find(const char *name);

/* The first verb that has an option `name` of its own, or NULL. */
const Verb *verb_with_option(const char *name);

/* The same; without such a verb says so, and which one may be meant. */
const Verb *verb_find_or_complain(const char *name);

/* Whether `n` is as many arguments as the verb takes; prints an error if not. */
bool verb_check_count(const Verb *verb, int n, char **arguments);

/* Adds two columns: each verb with its arguments, and what it does. */
void verbs_print_help(Output *output);

extern const Verb verb_bind, verb_cancel_unplug, verb_check_config, verb_completion_names,
        verb_completion_table, verb_help, verb_inhibit, verb_inhibitors, verb_io, verb_io_serve,
        verb_libvirt_hook, verb_list, verb_lock, verb_log, verb_metrics, verb_monitor, verb_open,
        verb_record, verb_release_all, verb_reload, verb_replay, verb_reset, verb_set_autoprobe,
        verb_set_vfs, verb_show, verb_status, verb_top, verb_unbind, verb_unlock, verb_unplug,
        verb_users, verb_why;
