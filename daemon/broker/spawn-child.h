/* spawn-child.h: the processes that take more than the daemon may do: they open VFIO's device
 * nodes, and become vfwarden-io.
 *
 * Owns nothing. vfwarden-spawn forks them (spawn-server.h); where there is no systemd, the daemon
 * does (spawner.h). Each waits for its task on its channel, and ends when the channel is closed. */
#pragma once

#include "policy/spawn-order.h"

/* What vfwarden-io is, and the user that it runs as. */
typedef struct SpawnProgram {
        const char *path;
        const char *user;
} SpawnProgram;

typedef struct SpawnTask {
        SpawnKind kind;
        const SpawnProgram *program;
} SpawnTask;

/* In the process: a HelperRun; `task` is a SpawnTask. */
void spawn_child_run(void *task, int channel);

/* One for each kind. */
void spawn_open_run(int channel);
void spawn_io_run(const SpawnProgram *program, int channel);
