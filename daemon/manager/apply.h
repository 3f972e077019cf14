/* apply.h: from the inventory through the rules to files, state and clients.
 *
 * Owns the queue of functions that something was changed of, and the event source that runs when
 * there is something to be read or applied. One round of applying asks the rules about each queued
 * function, saves what must be known to the next daemon, write-protects files, and notifies, in
 * this order: see protected-files.h. The loop takes APPLY_ROUND_FUNCTIONS in a turn, so that the
 * turn is short; a request's round takes those that the request concerns. Always holds: a function
 * is queued at most once, and none that has gone is; no round begins within another. What comes
 * before and after a round is its handler's. */
#pragma once

#include "daemon/manager/publisher.h"
#include "daemon/manager/state-keeper.h"

/* So many functions are judged in one turn of the loop, which must not be long. */
#define APPLY_ROUND_FUNCTIONS 32U

typedef struct Apply Apply;

typedef struct ApplyHandler {
        /* A round is about to begin because the loop has come to it: what is stale is to be read.
         */
        void (*before)(void *context);
        /* A round has ended, and its changes are published. */
        void (*after)(void *context);
} ApplyHandler;

/* All is borrowed; the parts are made before the first round. Returns 0 or a negative errno. */
int apply_new(const PartContext *context, const Settings *settings, StateKeeper *state,
              Publisher *publisher, const ApplyHandler *handler, void *handler_context,
              Apply **ret);
Apply *apply_free(Apply *apply);

const PartContext *apply_context(const Apply *apply);
StateKeeper *apply_state(const Apply *apply);

/* The function is to be judged in the next round; so is its PF, for what is true of a VF can be a
 * reason of its PF. The loop comes to that round by itself. */
void apply_queue(Apply *apply, Function *function);
void apply_queue_all(Apply *apply);
/* The function, and those whose links its reading may have changed. */
void apply_queue_related(Apply *apply, Function *function);

/* What is queued by now makes files open, and nobody has to wait for that: beyond the next round it
 * is applied in turn with the calls of clients, and after whatever is queued from now on. */
void apply_queued_later(Apply *apply);

/* The loop is to come to a round, whether or not something is queued; or, after the start, not. */
void apply_wake(Apply *apply);
void apply_sleep(Apply *apply);

/* The round that the loop is to come to, now; nothing if it is to come to none. */
void apply_catch_up(Apply *apply);

/* The function goes; it is in the inventory still. */
void apply_function_gone(Apply *apply, Function *function);

/* One round, now. What events ask for is locked even if the state cannot be saved: a device that is
 * taken from under its user is worse than a file that a later daemon opens with the kernel's mode.
 */
void apply_now(Apply *apply);

/* One round, now, of those queued functions that are related to `function` (check_related(); NULL:
 * none): for who asks the rules about it next. Returns 0, or a negative errno when the state cannot
 * be saved. */
int apply_related(Apply *apply, const Function *function);

/* One round, now, for a request that is to outlive the daemon, and changed `functions`, each of
 * which is there once; what else is queued stays queued. NULL: all that is queued, and may not wait
 * (apply_queued_later()). When the state cannot be saved, `undo` (NULL: nothing) undoes what the
 * request changed, before a file is touched or a change published. Returns 0 or a negative errno.
 */
typedef void ApplyUndo(void *context);
int apply_request(Apply *apply, const GPtrArray *functions, ApplyUndo *undo, void *context);

/* What a part records is another: it is saved at the end of the turn at the latest. */
void apply_record_changed(Apply *apply);

/* How many functions have a lock reason. */
unsigned apply_count_locked(const Apply *apply);
