/* scope.h: transient scopes of systemd, by which a process that stays behind has a name.
 *
 * Owns nothing: a scope belongs to systemd, and goes with its last process. Each call waits until
 * systemd has done it. */
#pragma once

#include "cli/context.h"

#include <sys/types.h>

/* Moves the process `pid` into a new scope called `unit`. Returns 0, or a negative errno and the
 * error. The context's bus is open; the call ends before `deadline`, of g_get_monotonic_time(). */
int scope_start(Context *context, const char *unit, const char *description, pid_t pid,
                gint64 deadline, sd_bus_error *ret_error);

/* Ends the processes of the scope. Returns 0, also where there is none, or a negative errno and the
 * error. */
int scope_stop(Context *context, const char *unit, gint64 deadline, sd_bus_error *ret_error);
