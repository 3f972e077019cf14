/* scan-child.h: the scanner, a process of the daemon that looks into /proc for it.
 *
 * Owns its end of the channel, and what it must leave out. ScanProgress shows at which process it
 * is. It opens nothing, and ends when the daemon does. What it does is in scan-jobs.h. */
#pragma once

#include "daemon/base/process.h"
#include "daemon/scan/scan.h"
#include "daemon/scan/vfio-marks.h"

#include <glib.h>
#include <sys/types.h>

typedef struct ScanChild {
        int channel;
        VfioMarks *marks; /* for nodes in another /dev; NULL */
        ScanProgress *progress;
        GHashTable *avoid; /* ScanAvoided, see scanner.h; of the daemon at the time of the fork */
        GPtrArray *jobs;   /* of ScanJob*, owned */
} ScanChild;

typedef struct ScanJob ScanJob;

/* Goes on with the job, a little. Returns whether it has ended; then it has sent all but
 * SCAN_KIND_DONE. */
typedef bool ScanJobStep(ScanChild *child, ScanJob *job);

struct ScanJob {
        ScanRequest request;
        int result; /* 0, or a negative errno: it could not look at everything */
        ScanJobStep *step;
        void *data;
        GDestroyNotify data_free;
};

/* Where it is: at process `pid` from now on, 0: at none; or at two, which it compares by
 * kcmp(2). */
void scan_child_at(ScanChild *child, pid_t pid);
void scan_child_at_both(ScanChild *child, pid_t pid, pid_t peer);

/* As process_read_facts(), without `stat` where an earlier scanner hung at that. */
int scan_child_read_facts(ScanChild *child, pid_t pid, ProcessFacts *ret);

/* What an earlier scanner hung at with this process: ScanAvoid bits. */
unsigned scan_child_hung_at(const ScanChild *child, pid_t pid);

/* The same, and what is not tried with a process of a user at many of whose processes one hung. */
unsigned scan_child_avoids(const ScanChild *child, pid_t pid);

/* Whether it is the process that began at `start_time` (0: any). Of one that hangs in execve() that
 * is not looked up. */
bool scan_child_is_same(ScanChild *child, pid_t pid, uint64_t start_time);

void scan_child_send(ScanChild *child, const ScanJob *job, ScanAnswer *answer);

/* Completes what was read of a process's descriptors by who it is, and sends it. Returns 0, or a
 * negative errno: it has something, nothing was sent, and who it is cannot be read. */
int scan_child_tell(ScanChild *child, const ScanJob *job, const ScanProcess *process);

/* Whether it is known to hold something, though it was not read to its end, for it goes on to begin
 * threads (-EOVERFLOW, see thread_tables_next()). The job's result is then that error. */
bool scan_child_holds_at_least(ScanJob *job, const ScanProcess *process, int error);

/* It cannot be looked at. */
void scan_child_tell_unknown(ScanChild *child, ScanJob *job, pid_t pid, int error);

/* Whether the error means that the process has ended. */
bool scan_child_is_end(int error);
