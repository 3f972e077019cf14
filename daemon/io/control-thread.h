/* control-thread.h: the daemon's orders to a session, and the reports to it.
 *
 * A thread of its own waits for orders, so that the other has nothing to do but the client's
 * requests, and an order is obeyed while a client does not take its replies. When the daemon's end
 * is closed the thread waits for ever and the session goes on. It waits for nothing of the
 * client's, and for the device only when it is to be closed. */
#pragma once

#include "daemon/io/session.h"

typedef struct ControlThread {
        int socket;
        Session *session;
} ControlThread;

/* Starts the thread. `control` must outlive the process. Returns 0 or a negative errno. */
int control_thread_start(ControlThread *control);

/* Sends a report without waiting. `session` NULL: there is none. */
void control_report(int socket, Session *session, IoKind kind, int error);
