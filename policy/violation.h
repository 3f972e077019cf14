/* violation.h: that a lock was violated, and how often that is reported.
 *
 * Owns the rule. Always holds: of those of one lock the first VIOLATION_TALLY_MAX are reported at
 * once, and all others are counted and reported together, once in VIOLATION_TALLY_USEC. So who
 * restores a write bit in a loop fills neither the journal nor the bus. */
#pragma once

#include "policy/address.h"

#include <stdbool.h>
#include <stdint.h>

/* Who did it, as the kernel guard saw it (kernel-guard.h). */
typedef struct ViolationAuthor {
        uint32_t pid; /* 0: not known */
        uint32_t uid;
        char command[64]; /* its name, UTF-8 without control characters */
        char unit[256];   /* its systemd unit, "" none, or it had ended */
} ViolationAuthor;

/* "bash (pid 322, uid 0, ssh.service)". Free with g_free(). */
char *violation_author_format(const ViolationAuthor *author);

typedef struct Violation {
        PciKey key;
        const char *operation; /* as in the contract, e.g. "set-num-vfs" */
        unsigned reasons;      /* LockReason bits that stood against it */
        const char *file; /* what was opened, as in ProtectedFiles; NULL when VFs came or went */
        const char *path; /* with `file`: where it is */
        unsigned mode;    /* with `file`: the mode that it was found with */
        uint16_t num_vfs_before, num_vfs; /* without */
        ViolationAuthor author;
        unsigned count; /* how many this reports, of which it is the last; 0: one */
} Violation;

#define VIOLATION_TALLY_MAX  10
#define VIOLATION_TALLY_USEC (10 * 1000 * 1000ULL)

typedef struct ViolationTally {
        uint64_t since_usec; /* when the time that it counts for began; 0: never */
        unsigned n_reported; /* in that time */
        unsigned n_counted;  /* that are yet to be reported */
} ViolationTally;

/* Whether one that happens at `now_usec` is reported at once; else it is counted. */
bool violation_tally_take(ViolationTally *tally, uint64_t now_usec);

/* When the time ends. */
uint64_t violation_tally_end_usec(const ViolationTally *tally);

/* The time has ended at `now_usec`: how many are to be reported now, together. With 0 the tally is
 * not needed any more; else the next time begins, in which all are counted. */
unsigned violation_tally_end(ViolationTally *tally, uint64_t now_usec);
