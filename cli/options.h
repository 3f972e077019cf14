/* options.h: the options of the command line, those of all verbs and those of one.
 *
 * Owns the table of the first kind; the others stand beside their verb. From these come the
 * parsing, --help, the errors and the completion of shells. An option has the same form, with or
 * without a value, wherever it has the same name. */
#pragma once

#include "cli/context.h"
#include "cli/exit-code.h"

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

/* Those of all verbs. */
extern const Option options_common[];

/* What the command line has; borrowed from it. */
typedef struct CommandLine {
        GArray *given; /* options of single verbs, in their order, for options_apply() */
        char **values; /* the verb and its arguments, ends with NULL */
        int count;     /* of them */
} CommandLine;

void command_line_clear(CommandLine *line);

/* Parses all of it, reads the options of all verbs into `context` and orders `argv` anew. Returns
 * false, and has printed why, if there is an option that nobody has, or a wrong value. */
bool options_parse(Context *context, int argc, char **argv, CommandLine *ret);

struct Verb;

/* Reads the options that were given for a single verb; false, and has printed why, if one is not
 * an option of `verb`, or its value is wrong. */
bool options_apply(Context *context, const struct Verb *verb, const CommandLine *line);

/* Adds two columns: each option, and what it does. */
void options_print_help(Output *output);
