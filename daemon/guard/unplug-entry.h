/* unplug-entry.h: one unplug: does what policy/unplug.h's table says.
 *
 * Owns a timer, and what its worker tells. Its entry is unplug.h's, and what it calls. Nobody else
 * includes this. */
#pragma once

#include "daemon/guard/operations.h"
#include "daemon/guard/slot-search.h"
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
        /* All uses of the function, and of what goes with it, are to be looked at: what the host
         * does with it is not always reported by an event. unplugs_looked() gets the result, with
         * `look`; perhaps before this returns. */
        void (*look)(void *context, Function *function, uint64_t look);
        /* That it can no longer be cancelled is to be saved now, or forgotten:
         * Function.unplugging. */
        void (*remember)(void *context, Function *function, bool remember);
} UnplugsHandler;

/* How a request ended: 0: done; -ECONNREFUSED: somebody who was asked refused; -ETIMEDOUT;
 * -ECANCELED; -EIO, `message` says what failed; -ENODEV: it vanished; -EALREADY: somebody else took
 * it over. */
typedef void UnplugDone(void *context, int result, const char *message);

typedef struct Unplug Unplug;

struct Unplug {
        Unplugs *unplugs;
        PciKey key;
        UnplugState state;
        bool insist;
        bool resumed, users_looked; /* see unplugs_resume(); whether they were since then */
        bool looked;                /* that nobody uses it was looked at a moment ago */
        uint64_t look;              /* the look that was asked for last and has not ended, 0 none */
        bool blocked;               /* by an operation on something related, until one ends */
        unsigned flags;             /* of the request, for check_unplug_others() */
        bool refused;               /* by somebody who was asked; `message` says why */
        unsigned n_awaited;         /* unplug_count_awaited(), when last looked at */
        sd_event_source *deadline;
        uint64_t timeout_usec;
        uint64_t asked_until_usec; /* CLOCK_REALTIME, while there is a deadline */
        UnplugDone *done;          /* NULL once told, or when nobody asked */
        void *done_context;
        char *message;  /* of the last failure, or of the refusal */
        bool working;   /* a worker is at it, and will tell this entry */
        unsigned depth; /* of calls that use the entry */
};

struct Unplugs {
        sd_event *event;
        Inventory *inventory;
        Operations *operations;
        SlotSearch *slots;
        const UnplugsHandler *handler;
        void *context;
        GHashTable *entries; /* PciKey in the entry -> Unplug*, owned */
        uint64_t n_looks;
        GPtrArray *orphans; /* of Unplug*, owned: the function has gone, the worker has not ended */
};

void unplug_free(gpointer unplug);

/* An entry of `unplugs->entries`, in the state "present". */
Unplug *unplug_new(Unplugs *unplugs, const Function *function);

Function *unplug_function(const Unplug *unplug);

/* Frees the entry if it is over and nobody uses it: `depth` is one less. */
void unplug_put(Unplug *unplug);

/* What the unplug waits for before it unbinds; with `insist` the kernel asks the users. */
unsigned unplug_count_awaited(const Unplug *unplug, const Function *function);

/* One event, one step. Frees `unplug` when that was the last and nobody else uses it. */
void unplug_tell(Unplug *unplug, UnplugEvent event);

/* Asks for a look at all uses, see UnplugsHandler.look(). One that was asked for before does not
 * count any more. */
void unplug_look(Unplug *unplug);

/* Whether its next step could not be taken yet. */
bool unplug_is_waiting(const Unplug *unplug);

/* Takes that step if it can be taken now. */
void unplug_go_on(Unplug *unplug);
