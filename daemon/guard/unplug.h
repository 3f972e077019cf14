/* unplug.h: functions that are being taken away in order.
 *
 * Owns the pending unplugs and their deadlines. policy/unplug.h's table says what to do next; here
 * it is done, and the result goes to the table as an event. Nothing here waits: a worker waits for
 * the kernel. A function of an external removal (external-removals.h) is followed to its end. */
#pragma once

#include "daemon/base/problems.h"
#include "daemon/guard/operations.h"
#include "policy/unplug.h"

typedef struct Unplugs Unplugs;

typedef struct UnplugsHandler {
        /* The function's state (as clients see it) changed. */
        void (*changed)(void *context, Function *function);
        /* The same, when all that belongs to the change is done: sessions wind down, whichever way
         * the function came to its state. A session's end may be the next event. */
        void (*entered)(void *context, Function *function);
        /* Its users, and those of its VFs, are to be notified. `deadline_usec` is CLOCK_REALTIME,
         * 0: none. */
        void (*ask)(void *context, Function *function, uint64_t deadline_usec);
        /* The device nodes of the function and of its VFs are to be write-protected, or not any
         * more. */
        void (*close)(void *context, Function *function, bool closed);
        /* The function is gone: every request of its I/O session fails from now on. */
        void (*end_sessions)(void *context, Function *function);
        /* That it can no longer be cancelled is to be saved now, or forgotten:
         * Function.unplugging. */
        void (*remember)(void *context, Function *function, bool remember);
} UnplugsHandler;

/* How a request ended: 0: done; -ECONNREFUSED: somebody who was asked refused; -ETIMEDOUT;
 * -ECANCELED; -EIO, `message` says what failed; -ENODEV: it vanished; -EALREADY: somebody else took
 * it over. */
typedef void UnplugDone(void *context, int result, const char *message);

/* `problems` outlives it. Returns 0 or a negative errno. */
int unplugs_new(sd_event *event, Inventory *inventory, Operations *operations, Problems *problems,
                const UnplugsHandler *handler, void *context, Unplugs **ret);
Unplugs *unplugs_free(Unplugs *unplugs);

/* Begins. `timeout_usec` counts from now. `flags` are of check(). Returns 0 when `done` will be
 * called, once; -EBUSY when the function is being taken away already. */
int unplugs_request(Unplugs *unplugs, Function *function, uint64_t timeout_usec, bool insist,
                    unsigned flags, UnplugDone *done, void *context);

/* Cancels the request. Returns 0; -EALREADY when it can no longer be cancelled; -ENOENT when
 * nothing was asked for. */
int unplugs_cancel(Unplugs *unplugs, Function *function);

/* Somebody who was asked will not release `function`: ends the request of it, of its PF or of what
 * is above. Its caller gets -ECONNREFUSED and `why`. Returns as unplugs_cancel(). */
int unplugs_refuse(Unplugs *unplugs, const Function *function, const char *why);

/* Until when the users of `function` are asked to release it, for its own unplug, its PF's or that
 * of what is above: CLOCK_REALTIME; 0: they are not. */
uint64_t unplugs_deadline(Unplugs *unplugs, const Function *function);

/* In an earlier run of the daemon it could no longer be cancelled: continues there, once the
 * operation that is still at it has ended. It is over if the function has been bound again then, or
 * is used by others than those who were asked: somebody may have begun while no daemon ran. */
void unplugs_resume(Unplugs *unplugs, Function *function);

/* The same for all of which that is remembered, now that every function is known. */
void unplugs_resume_all(Unplugs *unplugs);

/* The function was read again, its users changed, or an operation on it ended. */
void unplugs_function_changed(Unplugs *unplugs, Function *function);

/* Somebody else has begun to take the function away. May be called again. */
void unplugs_overtaken(Unplugs *unplugs, Function *function);

/* Some operation has ended, or one that could not be saved may be by now, or with `users_looked`
 * the users of all functions were looked at: what waited goes on. */
void unplugs_retry(Unplugs *unplugs, bool users_looked);

/* What stands against the unplug of any function may have ended, though no function has changed. */
void unplugs_blockers_changed(Unplugs *unplugs);

/* The function has gone, in order or not. Its object is still there. */
void unplugs_function_gone(Unplugs *unplugs, Function *function);
