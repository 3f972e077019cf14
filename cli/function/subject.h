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
