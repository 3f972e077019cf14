/* holders.h: the processes that have anything of VFIO open.
 *
 * Owns a Holder for each, and its pidfd's place in the event loop. A Holder is as it was when it was last
 * looked at; nothing here decides when to look. Called by users.h. */
#pragma once

#include "daemon/process.h"
#include "daemon/vfio-fds.h"
#include "daemon/vfio-watch.h"

#include <stdbool.h>
#include <systemd/sd-event.h>

typedef struct Holder {
        Process *process;
        VfioFds fds;
        uint64_t since_usec; /* CLOCK_REALTIME at which it was found */
        sd_event_source *exit;
        unsigned round; /* of the walk that saw it last */
} Holder;

typedef struct Holders Holders;

typedef struct HoldersHandler {
        void (*ended)(void *context); /* one of them; it is still there until holders_check() */
        VfioFdsKnownNode *known_node;
} HoldersHandler;

Holders *holders_new(sd_event *event, VfioWatch *watch, const HoldersHandler *handler,
                     void *context);
Holders *holders_free(Holders *holders);

/* Looks at one process: it becomes a holder, stays one, or is none any more. Returns whether it is one. */
bool holders_look_at(Holders *holders, pid_t pid);

/* Looks again at those holders that ended or have let go of anything, or at all of them. */
void holders_check(Holders *holders, bool all);

/* Whether one of them needs that. Cheap. */
bool holders_need_check(const Holders *holders);

/* Looks at all processes: start once, then step until it returns true. Whatever a step did not find is forgotten at the end.
 * Who is forked meanwhile is looked at as well: a process may have passed on what it has, and ended, before its turn came.
 * Who gets it by SCM_RIGHTS after its turn, from one that closes it before its own, is not seen. */
void holders_start_walk(Holders *holders);
bool holders_step_walk(Holders *holders, unsigned max_processes);

/* The holders (borrowed Holder*) by pid; free with g_ptr_array_unref(). */
GPtrArray *holders_sorted(const Holders *holders);
