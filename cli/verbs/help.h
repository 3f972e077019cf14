/* help.h: what --help prints.
 *
 * Owns nothing: verbs and options come from their tables. */
#pragma once

#include "cli/context.h"
#include "cli/exit-code.h"

/* The help of the verb `words[0]`; of all, if there is none. Returns EXIT_CODE_USAGE, and has
 * printed why, if it is no verb. */
ExitCode help_run(Context *context, char **words);
