/* children.h: processes that are to end, and of which some cannot.
 *
 * A process that hangs in the kernel over a device (uninterruptible sleep) does not end by SIGKILL
 * before that wait is over, which may be never. Owns such processes from their SIGKILL until their
 * end, and reaps them without waiting. Always holds:
 *  - a process that has not ended CHILDREN_GRACE_USEC after SIGKILL is reported as hanging, once;
 *  - it counts as its user's, and nothing else is begun with its function;
 *  - at most CHILDREN_HANGING_MAX hang: beyond that nothing is begun that could hang. */
#pragma once

#include "policy/address.h"

#include <stdbool.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

#define CHILDREN_GRACE_USEC  (2 * 1000 * 1000ULL)
#define CHILDREN_HANGING_MAX 64

#define CHILDREN_NOBODY      UINT32_MAX

typedef struct Children Children;

typedef struct KilledChild {
        pid_t pid;
        int pidfd; /* of one that is no child of ours, which is taken over; -1: it is a child */
        const char *name; /* static */
        PciKey key;       /* of the function that it works on */
        uint32_t uid;     /* for whom, or CHILDREN_NOBODY */
        uint64_t memory;  /* bytes that it may have pinned for them */
        bool late;        /* its deadline has passed: it counts as hanging from now on */
} KilledChild;

typedef struct ChildrenHandler {
        /* A process hangs over the function at `key`. From the event loop. */
        void (*hangs)(void *context, const KilledChild *child);
        /* No process hangs over the function any more. */
        void (*released)(void *context, PciKey key);
} ChildrenHandler;

Children *children_new(sd_event *event, const ChildrenHandler *handler, void *context);
Children *children_free(Children *children);

/* Kills it. It must have no other source in the event loop. */
void children_kill(Children *children, const KilledChild *child);

/* Why no other process may be begun over the function, for people; NULL when it may. Free with
 * g_free(). */
char *children_refusal(const Children *children, PciKey key);

/* How many of the user's hang. */
unsigned children_count(const Children *children, uint32_t uid);

/* How many bytes these may have pinned; UINT64_MAX for more than can be counted. */
uint64_t children_memory(const Children *children, uint32_t uid);
