/* help.h: what --help prints.
 *
 * Owns nothing: verbs and options come from their tables. */
#pragma once

#include "cli/output/output.h"

void help_print(Output *output);
