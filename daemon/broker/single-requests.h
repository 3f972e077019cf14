/* single-requests.h: single loads and stores, each by a process vfwarden-io that idles afterwards.
 *
 * Owns nothing: each is a session (session-entry.h) whose process is kept for the user's next one.
 * Opening a device takes two processes and a reset of the device; who loads twice in a row should
 * pay for it once. An idle process shows as a user of the function, but blocks nothing: a client
 * that wants the function ends it. A pending request counts as any session does. */
#pragma once

#include "daemon/base/config.h"
#include "daemon/broker/broker-types.h"
#include "policy/function.h"

/* Has one load or store done, by an idle process if that fits. Returns as sessions_open(). */
int single_requests_serve(Sessions *sessions, Function *function, const Config *config,
                          const SessionRequest *request, const IoOrder *order,
                          SessionAnswered *done, void *context);

/* Whether an idle process on the function could serve the user's next request; it has the device
 * open then. */
bool single_requests_has_idle(const Sessions *sessions, const Function *function, uint32_t uid);

/* A client wants the function. Ends the idle processes on it and on the `related` functions (of
 * Function*, with itself), but keeps one that can serve the next request of user `uid` on the
 * function itself. `done` is called once, perhaps before this returns. */
void single_requests_end_idle(Sessions *sessions, const Function *function,
                              const GPtrArray *related, uint32_t uid, SessionsIdleEnded *done,
                              void *context);

/* The function was read again. */
void single_requests_function_changed(Sessions *sessions, const Function *function);
