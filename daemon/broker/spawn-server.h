/* spawn-server.h: starts processes for the daemon, in the service vfwarden-spawn.
 *
 * Owns the connections, and the processes as long as somebody wants to hear of their end. Always
 * holds: an order is taken only from a process of root's, and of the unit that is given; what an
 * order may be, policy/spawn-order.h says; anything else closes the connection. The service has
 * nothing of a device's and of a client's in its hands: these go to the process by its channel. So
 * it waits for nothing, whatever becomes of what it has started. */
#pragma once

#include "daemon/broker/spawn-child.h"

#include <systemd/sd-event.h>

typedef struct SpawnServer SpawnServer;

typedef struct SpawnServerOptions {
        SpawnProgram program;
        const char *unit; /* whose processes may order; NULL: any of root's */
} SpawnServerOptions;

/* `listening` is the caller's, and the strings of `options`. Returns 0 or a negative errno. */
int spawn_server_new(sd_event *event, int listening, const SpawnServerOptions *options,
                     SpawnServer **ret);
SpawnServer *spawn_server_free(SpawnServer *server);
