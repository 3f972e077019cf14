/* guard-report.h: what the process that becomes the guard reports to the hook, whose child it is.
 *
 * Owns the form of the messages on the socket between the two. The hook prints them, so that the
 * errors of a run come from one process, in order and as --json has them. */
#pragma once

#include "cli/context.h"
#include "cli/exit-code.h"

#include <glib.h>

/* In the child. A line to be printed. */
void guard_report_line(int fd, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* The call to the daemon failed. */
void guard_report_failure(int fd, int r, const sd_bus_error *error);

/* The last message; after a failure its code does not count. `stays`: the child is the guard from
 * now on. Returns 0, or a negative errno if the hook has ended. */
int guard_report_end(int fd, ExitCode code, bool stays);

/* In the hook. Prints what is reported, up to the end. */
ExitCode guard_report_hear(Context *context, int fd, bool *ret_stays);
