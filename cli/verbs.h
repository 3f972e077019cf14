/* verbs.h: the verbs that main.c dispatches to, one file per group.
 *
 * A verb gets its arguments, as many as its row in main.c's table allows, and NULL after them. It
 * prints its own errors, leaves its output in the context's buffer and returns the exit code. */
#pragma once

#include "cli/context.h"
#include "cli/exit-code.h"

ExitCode verb_list(Context *context, char **arguments);
ExitCode verb_show(Context *context, char **arguments);
ExitCode verb_status(Context *context, char **arguments);
ExitCode verb_monitor(Context *context, char **arguments);
ExitCode verb_lock(Context *context, char **arguments);
ExitCode verb_unlock(Context *context, char **arguments);
ExitCode verb_release_all(Context *context, char **arguments);
ExitCode verb_reload(Context *context, char **arguments);
ExitCode verb_why(Context *context, char **arguments);
ExitCode verb_users(Context *context, char **arguments);
ExitCode verb_inhibitors(Context *context, char **arguments);
ExitCode verb_inhibit(Context *context, char **arguments);
ExitCode verb_bind(Context *context, char **arguments);
ExitCode verb_unbind(Context *context, char **arguments);
ExitCode verb_reset(Context *context, char **arguments);
ExitCode verb_set_vfs(Context *context, char **arguments);
ExitCode verb_set_autoprobe(Context *context, char **arguments);
ExitCode verb_unplug(Context *context, char **arguments);
ExitCode verb_cancel_unplug(Context *context, char **arguments);
ExitCode verb_libvirt_hook(Context *context, char **arguments);
ExitCode verb_open(Context *context, char **arguments);
ExitCode verb_io(Context *context, char **arguments);
