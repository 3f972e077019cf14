/* child.h: a command that runs while this process holds something for it.
 *
 * Owns the child. Always holds: the child gets SIGTERM when this process ends, and the signals that
 * somebody sends to this process alone. */
#pragma once

#include "cli/context.h"
#include "cli/exit-code.h"

/* Runs `command`, which NULL ends, and waits for it. Returns its exit code as a shell has it, and
 * has printed why if the command could not be executed. */
ExitCode child_run(const Context *context, char **command);
