/* holders.h: the processes that have anything of VFIO open.
 *
 * Owns a Holder for each, as the scanner reported it last, and for the first WATCHED_PER_UID of
 * each user a pidfd, which reports their end at once. The end of the other processes is found by
 * looking. Of more than RECORDS_PER_UID processes of one user the rest are one Holder, the crowd,
 * which has all that any of them has. All users but root together have WATCHED_OF_USERS pidfds and
 * RECORDS_OF_USERS records. So neither descriptors nor memory grow with what a user forks, under
 * however many uids. */
#pragma once

#include "daemon/scan/scan.h"
#include "policy/vfio-holder.h"

#include <sys/types.h>
#include <systemd/sd-event.h>

typedef struct Holder {
        pid_t pid;
        uint64_t start_time;
        uint32_t uid;
        char *comm;    /* the process's name */
        char *command; /* the beginning of its command line; its name where that is not known */
        char *unit, *machine;
        VfioHolder has;
        uint32_t n_numbers;
        int32_t numbers[SCAN_NUMBERS_MAX]; /* its descriptors in question */
        bool is_crowd;                     /* it, and ... */
        uint32_t n_others;   /* ... so many more processes that are not told one by one */
        uint64_t since_usec; /* CLOCK_REALTIME at which it was found */
        int pidfd;           /* -1: its end is found by looking */
        sd_event_source *exit;
        unsigned round; /* of the walk that saw it last */
} Holder;

typedef struct Holders Holders;

typedef struct HoldersHandler {
        void (*ended)(void *context, pid_t pid); /* one of them has ended, and is none any more */
        /* One that is new, or runs another program: its command line is wanted. */
        void (*unnamed)(void *context, const Holder *holder);
        /* The function behind a device's own node when /sys has no longer an entry for it, since
         * its driver is being unbound while somebody holds it. Returns whether it is known. */
        bool (*known_node)(void *context, dev_t node, PciKey *ret);
} HoldersHandler;

Holders *holders_new(sd_event *event, const HoldersHandler *handler, void *context);
Holders *holders_free(Holders *holders);

/* What the scanner reported of one process: it becomes a holder, stays one, or is none any more.
 * Returns whether anything is new. */
bool holders_take(Holders *holders, const ScanProcess *process);

/* Processes that share a device descriptor: each may have it from a group that any of them had. */
void holders_take_same(Holders *holders, const ScanSame *same);

/* Returns whether that is new. */
bool holders_take_command(Holders *holders, pid_t pid, const char *command);

/* All processes are looked at: what is not taken until the end is forgotten then. */
void holders_start_walk(Holders *holders);
void holders_end_walk(Holders *holders);

/* Whether a process that has ended or closed it since the last walk began was seen with the
 * function, or with its group: it may have passed that on to one that the walk has passed by. */
bool holders_left_in_walk(const Holders *holders, PciKey key, int32_t group);

/* Forgets those that have ended, as their pidfds tell at this moment. */
void holders_drop_ended(Holders *holders);

/* NULL when it is none. */
const Holder *holders_find(const Holders *holders, pid_t pid);

/* Whether some are known as a crowd only. */
bool holders_have_crowd(const Holders *holders);

/* The holders (borrowed Holder*) by pid, crowds among them; free with g_ptr_array_unref(). */
GPtrArray *holders_sorted(const Holders *holders);
