/* sessions.h: the I/O sessions: functions whose loads and stores vfwarden-io does for a client.
 *
 * Owns the sessions and the daemon's end of their processes. A session is opened in three steps,
 * none of which the daemon waits for: a process opens the device, vfwarden-io is started with it,
 * and reports that it is ready. A function has one session at a time; the session is a user of the
 * function like any other, named by its client. A session survives the daemon: systemd keeps the
 * control socket, and the run-time state says whose it is. The caller decides whether a client may
 * have a session.
 *
 * A single load or store is served by a session of its own kind, see single-requests.h. */
#pragma once

#include "daemon/base/config.h"
#include "daemon/base/fd-store.h"
#include "daemon/broker/broker-types.h"
#include "daemon/broker/spawner.h"
#include "policy/inventory.h"

/* `store` and `spawner` must outlive it. */
Sessions *sessions_new(sd_event *event, Spawner *spawner, Children *children, Inventory *inventory,
                       FdStore *store, const SessionsHandler *handler, void *context);
Sessions *sessions_free(Sessions *sessions);

/* Opens one. Returns 0 when `done` will be called, once; -EBUSY when the function has one; -EDQUOT
 * when the user would have more of them, or more mapped memory, than `config` allows; -EINVAL when
 * the request's listener is none; or another negative errno. */
int sessions_open(Sessions *sessions, Function *function, const Config *config,
                  const SessionRequest *request, SessionOpened *done, void *context);

/* Tells all that wait for something -ECANCELED, with `why`. Comes before sessions_free(), with no
 * turn of the event loop between the two. */
void sessions_end_calls(Sessions *sessions, const char *why);

/* The function is asked for: its client is notified, and served further. With `end_usec` (from now)
 * other than SESSIONS_NO_END the session then ends for good: every request is answered with
 * ENODEV. A session that is still being opened is refused. */
#define SESSIONS_NO_END UINT64_MAX
void sessions_drain(Sessions *sessions, PciKey key, uint64_t end_usec);

/* The function has gone: the same at once. */
void sessions_function_gone(Sessions *sessions, PciKey key);

/* Has the function's session report its counts soon, if it has one that serves a client. Clients
 * ask as often as they like. */
void sessions_ask_counts(Sessions *sessions, PciKey key);

/* The function, or its users, changed: a session whose device is closed for good is none of the
 * function's any more. */
void sessions_function_changed(Sessions *sessions, const Function *function);

/* The function is new: gets its session, if it is still the same device. */
void sessions_attach(Sessions *sessions, Function *function);

/* Makes `users` (of User*, owned, may be NULL) say who the client is instead of vfwarden-io, and
 * who has a session without having a device open. Takes it over; returns what is to be used
 * instead. */
GPtrArray *sessions_users(const Sessions *sessions, const Function *function, GPtrArray *users);

/* `records` are of StateSession, see records.h. */
void sessions_record(const Sessions *sessions, GArray *records);

/* Takes over those that an earlier run recorded and that are still served. Before any function is
 * known. Returns 0, or a negative errno when that is unknown for one: nothing of it was dropped
 * then. */
int sessions_adopt(Sessions *sessions, const GArray *records);

/* --- for those who open sessions */

/* The one of the function, or NULL. */
SessionEntry *sessions_find(const Sessions *sessions, PciKey key);

/* Whether there may be one: 0, -EBUSY or -EDQUOT as of sessions_open(). */
int sessions_check(const Sessions *sessions, const Function *function, const Config *config,
                   const SessionRequest *request);
