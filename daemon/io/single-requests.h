/* single-requests.h: loads and stores for the daemon, one by one.
 *
 * Owns nothing. It runs in a process of its own, since a device may take its time and the daemon
 * has none: the daemon sets the deadlines, and kills the process when it stops answering. */
#pragma once

#include "daemon/io/backend/backend.h"

/* Tells the daemon that it is ready, and does and reports what comes as IO_LOAD and IO_STORE on
 * `control`, until the daemon closes its end. */
void single_requests_serve(int control, IoBackend *backend);
