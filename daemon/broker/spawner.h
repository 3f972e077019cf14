/* spawner.h: starts the processes that take more than the daemon may do.
 *
 * Owns the way to them. There are two, and the same code runs at the end of both (spawn-child.h):
 * vfwarden-spawn.service is asked over its socket; where there is none, because the daemon was
 * started by hand, the daemon forks. Always holds: nothing waits for the service. It has
 * SPAWNER_ANSWER_USEC to answer; when it is not there, or ends, what was ordered from it fails, and
 * what it has started goes on. A process does nothing before its pid is known here. */
#pragma once

#include "daemon/base/helper.h"
#include "daemon/base/problems.h"
#include "daemon/broker/spawn-child.h"

/* Less than those have who wait for what is started (20 s), and enough for a busy host to start the
 * service. */
#define SPAWNER_ANSWER_USEC (18 * 1000 * 1000ULL)

typedef struct Spawner Spawner;

/* `socket` is the path of the service's; NULL: the daemon forks, with `program`. Both are copied;
 * the strings of `program` are not. */
Spawner *spawner_new(sd_event *event, Problems *problems, const char *socket,
                     const SpawnProgram *program);
Spawner *spawner_free(Spawner *spawner);

/* Returns 0, and `handler->started` will be called, from the event loop, unless the helper is freed
 * before; or a negative errno: -EIO when the service cannot be reached. */
int spawner_start(Spawner *spawner, SpawnKind kind, const HelperHandler *handler, void *context,
                  Helper **ret);
