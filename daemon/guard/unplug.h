/* unplug.h: functions that are being taken away in order.
 *
 * Owns the pending unplugs and their deadlines. policy/unplug.h's table says what to do next; here
 * it is done, and the result goes to the table as an event. Nothing here waits: a worker waits for
 * the kernel. A function of an external removal (external-removals.h) is followed to its end. */
#pragma once

#include "daemon/base/problems.h"
#include "daemon/guard/unplug-entry.h"

/* `problems` outlives it. Returns 0 or a negative errno. */
int unplugs_new(sd_event *event, Inventory *inventory, Operations *operations, Problems *problems,
                const UnplugsHandler *handler, void *context, Unplugs **ret);
Unplugs *unplugs_free(Unplugs *unplugs);

/* Begins, after a look at all uses. `timeout_usec` counts from now. `flags` are of check(). Returns
 * 0 when `done` will be called, once; -EBUSY when the function is being taken away already. */
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

/* A look that UnplugsHandler.look() asked for has ended; `result` is negative if it found out
 * nothing. */
void unplugs_looked(Unplugs *unplugs, const Function *function, uint64_t look, int result);

/* What stands against the unplug of any function may have ended, though no function has changed. */
void unplugs_blockers_changed(Unplugs *unplugs);

/* The function has gone, in order or not. Its object is still there. */
void unplugs_function_gone(Unplugs *unplugs, Function *function);
