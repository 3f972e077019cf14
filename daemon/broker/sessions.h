/* sessions.h: the I/O sessions: functions whose loads and stores vfwarden-io does for a client.
 *
 * Owns the sessions and the daemon's end of their processes. A session is opened in three steps,
 * none of which the daemon waits for: a process opens the device, vfwarden-io is started with it,
 * and reports that it is ready. A function has one session at a time; the session is a user of the
 * function like any other, named by its client. A session survives the daemon: systemd keeps the
 * control socket, and the run-time state says whose it is. The caller decides whether a client may
 * have a session.
 *
 * A single load or store is served likewise, and its process is kept idle for the user's next one.
 * An idle process shows as a user of the function, but blocks nothing: a client that wants the
 * function ends it. */
#pragma once

#include "daemon/base/config.h"
#include "daemon/base/fd-store.h"
#include "daemon/broker/io-process.h"
#include "policy/inventory.h"

typedef struct Sessions Sessions;

typedef struct SessionsHandler {
        /* Function.session, or what it says, is another; so are the function's users. */
        void (*changed)(void *context, PciKey key);
        /* A process that had a function open has ended: its users can be listed anew, before
         * `changed` is called for it. From the event loop. */
        void (*process_ended)(void *context);
} SessionsHandler;

typedef struct SessionRequest {
        uint32_t uid, pid;   /* of the client */
        uint64_t max_mapped; /* bytes that it wants to map */
        bool emulated;       /* memory instead of the device */
} SessionRequest;

/* How it ended: 0 with the client's end of the socket, which is the callee's to close, and the
 * session; or a negative errno with `message`: -ENODEV: the function has gone meanwhile;
 * -ETIMEDOUT; -EIO. */
typedef void SessionOpened(void *context, int result, const char *message, int client,
                           const IoSession *session);

/* How a single request ended: 0 with vfwarden-io's report, or a negative errno with `message`:
 * -EINVAL for what the rules refuse, -EIO for what the device refused, and those above. */
typedef void SessionAnswered(void *context, int result, const char *message,
                             const IoReport *report);

/* `store` and `spawner` must outlive it. */
Sessions *sessions_new(sd_event *event, Spawner *spawner, Children *children, Inventory *inventory,
                       FdStore *store, const SessionsHandler *handler, void *context);
Sessions *sessions_free(Sessions *sessions);

/* Opens one. Returns 0 when `done` will be called, once; -EBUSY when the function has one; -EDQUOT
 * when the user would have more of them, or more mapped memory, than `config` allows; or another
 * negative errno. */
int sessions_open(Sessions *sessions, Function *function, const Config *config,
                  const SessionRequest *request, SessionOpened *done, void *context);

/* Has one load or store done, by an idle process if that fits. Returns as sessions_open(). */
int sessions_request(Sessions *sessions, Function *function, const Config *config,
                     const SessionRequest *request, const IoOrder *order, SessionAnswered *done,
                     void *context);

/* Whether an idle process on the function could serve the user's next request; it has the device
 * open then. */
bool sessions_idle(const Sessions *sessions, const Function *function, uint32_t uid);

/* A client wants the function. Ends the idle processes on it and on the `related` functions (of
 * Function*, with itself), but keeps one that can serve the next request of user `uid` on the
 * function itself. `done` is called once with 0 when none is left, perhaps at once; or with
 * -ECANCELED by sessions_end_calls(). */
typedef void SessionsLetGo(void *context, int result);
void sessions_let_go(Sessions *sessions, const Function *function, const GPtrArray *related,
                     uint32_t uid, SessionsLetGo *done, void *context);

/* Tells all that wait for something -ECANCELED, with `why`. Comes before sessions_free(), with no
 * turn of the event loop between the two. */
void sessions_end_calls(Sessions *sessions, const char *why);

/* The function was read again. */
void sessions_function_changed(Sessions *sessions, const Function *function);

/* The function is asked for: its client is notified, and served further. With `end_usec` (from now)
 * other than SESSIONS_NO_END the session then ends for good: every request is answered with
 * ENODEV. */
#define SESSIONS_NO_END UINT64_MAX
void sessions_drain(Sessions *sessions, PciKey key, uint64_t end_usec);

/* The function has gone: the same at once. */
void sessions_function_gone(Sessions *sessions, PciKey key);

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
