/* options.h: the command line, with the options of all verbs and those of one.
 *
 * Owns the table of the first kind; the others stand beside their verb. From these come the
 * parsing, --help, the errors and the completion of shells. An option has the same form, with or
 * without a value, wherever it has the same name. */
#pragma once

#include "cli/verbs.h"

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

/* Reads the options that were given for a single verb; false, and has printed why, if one is not
 * an option of `verb`, or its value is wrong. */
bool options_apply(Context *context, const Verb *verb, const CommandLine *line);

/* Adds two columns: each option, and what it does; the other, those of one verb. */
void options_print_help(Output *output);
void options_print_help_of(Output *output, const Verb *verb);
