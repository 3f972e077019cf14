/* part.h: a part of the manager: something with a life of its own beside the inventory.
 *
 * Owns nothing: the form that all parts have, so that start, restart, state and end are loops over
 * one table (daemon/manager/parts/parts.c). What a part does not need is NULL. Parts hear of a
 * function in the order of the table. They hear of its end, and end themselves, in the reverse
 * order, so a part stands below all that it depends on. What a part needs from others it asks of
 * its PartHost, so no part calls the manager. */
#pragma once

#include "daemon/base/children.h"
#include "daemon/base/fd-store.h"
#include "daemon/base/files/state-section.h"
#include "daemon/base/problems.h"
#include "daemon/base/reserve.h"
#include "policy/inventory.h"

typedef struct Config Config;
typedef struct Counters Counters;
typedef struct Part Part;
typedef struct TurnMeter TurnMeter;
typedef struct Violation Violation;
typedef struct Watch Watch;

/* What has changed of a function. */
typedef enum PartNews {
        PART_NEWS_READ = 1 << 0,      /* the function was read again, or for the first time */
        PART_NEWS_USERS = 1 << 1,     /* its users may be others */
        PART_NEWS_VF_USERS = 1 << 2,  /* those of one of its VFs may be */
        PART_NEWS_OPERATION = 1 << 3, /* an operation on it has ended */
        /* An inhibitor, an administrator's lock or a use by the host, of it or of a VF of it, began
         * or ended. */
        PART_NEWS_BLOCKERS = 1 << 4,
} PartNews;

/* How soon a part wants to look again at what it keeps up. */
typedef enum PartCheck {
        PART_CHECK_NEVER,
        PART_CHECK_SOMETIMES, /* all is as it should be, as far as events tell */
        PART_CHECK_SOON,      /* something could not be done */
} PartCheck;

/* What a part may ask for, from the event loop. `context` is the context's `host_context`. */
typedef struct PartHost {
        /* The rules are to be asked about the function, and clients be notified, at the end of
         * this turn of the loop. */
        void (*queue)(void *context, Function *function);
        /* The same, and those of its PF and VFs that have changed by it. */
        void (*queue_related)(void *context, Function *function);
        /* The function is to be read then; now, whatever is to be read. */
        void (*mark_stale)(void *context, PciKey key);
        void (*read_stale)(void *context);
        /* Events that are held, because many functions have some, are handled in the next turn. */
        void (*hurry)(void *context);
        /* Applies all that is queued, now. */
        void (*apply)(void *context);
        /* The same for what is related to the function (check_related()); NULL: nothing. */
        void (*apply_related)(void *context, const Function *function);
        /* Beyond a few functions, clients need not wait for what is queued by now. */
        void (*queued_later)(void *context);
        /* What the part records is another than when it was asked last; it is saved at the end of
         * this turn, or by `save` now: 0 or a negative errno. */
        void (*record_changed)(void *context);
        int (*save)(void *context);
        /* For people: what it means that `save` has failed. Free with g_free(). */
        char *(*describe_unsaved)(void *context, int error);
        /* What the part says of the function's users is another. */
        void (*users_changed)(void *context, PciKey key);
        /* Tells the other parts of `news` (PartNews bits) that are not PART_NEWS_READ. */
        void (*tell)(void *context, Function *function, unsigned news);
        /* A write-protected file was found open for writing. */
        void (*violation)(void *context, const Violation *violation);
        /* What kernel_guards_list() says is another. */
        void (*guards_changed)(void *context);
        /* The function's holders are to be asked to release it. `deadline_usec` is CLOCK_REALTIME,
         * 0: none. */
        void (*ask_release)(void *context, Function *function, uint64_t deadline_usec);
        /* What is configured; until the next turn of the loop. */
        const Config *(*config)(void *context);
        /* What `part` made; it stands above the caller in the table, or all parts are made. */
        void *(*find)(void *context, const Part *part);
} PartHost;

/* What every part may use. It outlives the parts. */
typedef struct PartContext {
        sd_event *event;
        Inventory *inventory;
        Problems *problems;
        Reserve *reserve;
        FdStore *store;
        Children *children;
        Watch *watch;
        Counters *counters;
        const TurnMeter *turns;
        const char *proc;                 /* where procfs is: "/proc" */
        const char *io_program, *io_user; /* of vfwarden-io */
        const char *spawn_socket;    /* of vfwarden-spawn.service; NULL: the daemon forks itself */
        const char *guard_directory; /* of vfwarden-guard */
        const PartHost *host;
        void *host_context;
} PartContext;

struct Part {
        const char *name;
        /* The part's list of state.json; with it, `record` adds to the list what is to be
         * remembered, and `adopt` takes over what an earlier run recorded, before any function is
         * known. A negative errno of `adopt` ends the start, and leaves file and descriptors to the
         * next one. */
        const StateSection *section;
        int (*adopt)(void *self, const GArray *records);
        /* Instead of `adopt`: takes over what was recorded when every function has been read. */
        void (*adopt_known)(void *self, const GArray *records);
        void (*record)(void *self, GArray *records);

        /* Returns 0 with the part in `*ret`, or a negative errno. */
        int (*new)(const PartContext *context, void **ret);
        /* The daemon ends: pending calls end with -ECANCELED and `why`. No turn of the loop comes
         * after it. */
        void (*end_calls)(void *self, const char *why);
        void (*free)(void *self);

        /* The function is new. */
        void (*attach)(void *self, Function *function);
        /* One of the `hears` (PartNews bits) has happened. A negative errno says that `reads` could
         * not be read at present: the function is read again later. */
        unsigned hears;
        const char *reads; /* for people; NULL: nothing that can fail */
        int (*function_changed)(void *self, Function *function, unsigned news);
        /* The function goes; it is in the inventory still. */
        void (*function_gone)(void *self, Function *function);

        /* How soon to call `check`, which looks whether all is as it should be. */
        PartCheck (*wants_check)(const void *self);
        void (*check)(void *self);
};
