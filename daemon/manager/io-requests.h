/* io-requests.h: I/O by clients without privilege: who may have it, and its way to sessions.h.
 *
 * Owns nothing but the calls that wait for users to be known, or for a session. */
#pragma once

#include "daemon/manager/apply.h"

/* See manager_open_session(), manager_access() and manager_let_go(). */
void io_requests_open_session(Apply *apply, Function *function, const ManagerIo *io,
                              ManagerSessionOpened *done, void *context);
void io_requests_access(Apply *apply, Function *function, const ManagerIo *io,
                        const ManagerAccess *access, ManagerAccessed *done, void *context);
void io_requests_let_go(Apply *apply, const Function *function, uint32_t uid, ManagerLetGo *done,
                        void *context);
