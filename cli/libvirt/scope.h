/* scope.h: transient scopes of systemd, by which a process that stays behind has a name.
 *
 * Owns the call that starts one, until systemd has done it. A scope itself belongs to systemd, and
 * goes with its last process. */
#pragma once

#include "cli/context.h"

#include <glib.h>
#include <stdbool.h>
#include <sys/types.h>

typedef struct Scope Scope;

/* Asks systemd to move the process `pid` into a new scope called `unit`, and does not wait for it.
 * The context's bus is open; the strings are borrowed. Returns 0 or a negative errno. */
int scope_begin(Context *context, const char *unit, const char *description, pid_t pid,
                Scope **ret);

/* Waits until systemd has done it, and before that has stopped an older scope of that name, if
 * there is one. Returns 0, or a negative errno and the error; -ETIMEDOUT at `deadline`, of
 * g_get_monotonic_time(). */
int scope_finish(Scope *scope, gint64 deadline, sd_bus_error *ret_error);

Scope *scope_free(Scope *scope);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Scope, scope_free)

/* Whether the process is in the scope of that name, which no user's own systemd can make. */
bool scope_has(const char *unit, pid_t pid);

/* Ends the processes of the scope, and waits for that. Returns 0, also where there is none, or a
 * negative errno and the error. */
int scope_stop(Context *context, const char *unit, gint64 deadline, sd_bus_error *ret_error);
