/* subject.h: the functions that the arguments of a verb name.
 *
 * Owns nothing. Takes every form of names.h. An address is taken as it is; for other names the
 * daemon is asked. Each call prints what is wrong, and returns the exit code. */
#pragma once

#include "cli/context.h"
#include "cli/exit-code.h"

/* From now on errors of the run bear the address that `argument` is, or `argument` if it is
 * none. */
void subject_note(Context *context, const char *argument);

/* The address, the caller's and noted, of the one function that `argument` names. A name that
 * several functions have is an error, which lists them. */
ExitCode subject_find(Context *context, const char *argument, char **ret_address);

/* The addresses of all functions that the arguments name, each once: an array of char*, the
 * caller's. `arguments` ends with NULL. */
ExitCode subject_find_all(Context *context, char **arguments, GPtrArray **ret_addresses);

/* Does `what` to the function at `address`, the caller's; prints its own errors. */
typedef ExitCode SubjectDo(Context *context, const char *address);

/* Exit codes from here on say that a signal has ended the verb. */
#define SUBJECT_SIGNALLED 128

/* Does `what` to each function that the arguments name, one after the other. A name that several
 * functions have is an error unless it is a pattern. Goes on when one fails, and returns the exit
 * code of the first that did; with a signal it ends. */
ExitCode subject_do_each(Context *context, char **arguments, SubjectDo *what);

/* Prints what --json has about one function; with several, all are elements of one array. */
void subject_print_json(Context *context, JsonNode *node);
