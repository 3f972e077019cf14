/* report.h: how a run of the command says what went wrong.
 *
 * Owns the one global of the command: whether errors are text or JSON. As text each is printed at
 * once. With --json the errors of a run are one object, which report_end() prints: members Error
 * (the name of a D-Bus error), Message, Hints (what else was said), Address ("" for none) and
 * ExitCode. Both go to standard error; standard output has results alone. Messages are made safe
 * for a terminal here. */
#pragma once

#include "cli/exit-code.h"

#include <glib.h>
#include <stdbool.h>

/* Before the first error. */
void report_begin(bool json);

/* No hints from now on. */
void report_be_quiet(void);

/* At the end of the run: prints the object if there was an error and the run failed. */
void report_end(ExitCode code, const char *address);

/* An error of this command. */
void print_error(const char *format, ...) G_GNUC_PRINTF(1, 2);

/* An error that has a name on D-Bus; NULL and names of sd-bus's own stand for none. */
void print_named_error(const char *name, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* A sentence that follows an error and says what to do. */
void print_hint(const char *format, ...) G_GNUC_PRINTF(1, 2);

/* That --help says how the command is used; follows an error about that. */
void print_usage_hint(void);

/* A warning, at once: the run goes on. */
void print_warning(const char *format, ...) G_GNUC_PRINTF(1, 2);
