/* child.h: a command that runs while this process holds something for it.
 *
 * Owns the child. Always holds: the child gets SIGTERM when this process ends, and the signals that
 * somebody sends to this process alone. */
#pragma once

#include "cli/context.h"
#include "cli/exit-code.h"

#include <signal.h>

/* The signals that somebody sends to a command, and which its child gets; 0 is the end. */
extern const int child_signals[];

/* Blocks the signals that a child is waited for with, and which it gets. `ret_before` is the mask
 * for it. Returns 0 or a negative errno. */
int child_block_signals(sigset_t *signals, sigset_t *ret_before);

/* Runs `command`, which NULL ends, with the signal mask `mask`. Returns its pid, or a negative
 * errno. A command that cannot be executed ends like one that a shell did not find, and has printed
 * why. */
pid_t child_start(const Context *context, char **command, const sigset_t *mask);

/* The exit code of a child that has ended, as a shell has it. */
ExitCode child_exit_code(const siginfo_t *info);

/* Runs `command`, which NULL ends, and waits for it. Returns its exit code as a shell has it, and
 * has printed why if the command could not be executed. */
ExitCode child_run(const Context *context, char **command);
