/* worker.h: a process that carries out a plan, so that the daemon never waits in the kernel.
 *
 * Owns the child and its result. A write to sysfs may hang for as long as a guest likes, and then
 * not even SIGKILL ends it. So nothing waits for it: the creator is notified of its end, and has a
 * deadline of its own. A worker survives the daemon and can be found again by pid and start
 * time. */
#pragma once

#include "policy/plan.h"

#include <sys/types.h>
#include <systemd/sd-event.h>

/* How a plan ended. `error` is 0, or the positive errno of the step that failed, whose path is
 * `path` (borrowed from the plan; NULL when it is not known, for a worker found again). */
typedef struct WorkerResult {
        int error;
        const char *path;
} WorkerResult;

typedef struct Worker Worker;
typedef void WorkerDone(void *context, const WorkerResult *result);

/* Opens the file `path` for writing, a closed one too. Returns a descriptor or a negative errno. */
typedef int WorkerOpen(void *context, const char *path);

/* Makes a process for the plan, which the worker takes over on success. `open` is asked for every
 * file of it now, in the daemon, which can open closed ones; what it cannot open, because an
 * earlier step makes it, the child opens when its turn comes. It begins with worker_go(). `done` is
 * called once, and may free the worker. Returns 0 or a negative errno. */
int worker_start(sd_event *event, Plan *plan, WorkerOpen *open, WorkerDone *done, void *context,
                 Worker **ret);

/* Lets it begin. Returns 0 or a negative errno. */
int worker_go(Worker *worker);

/* Takes over one that an earlier run of the daemon started. Returns 0, -ESRCH when it has ended or
 * its pid is somebody else's by now, or another negative errno. */
int worker_adopt(sd_event *event, pid_t pid, uint64_t start_time, WorkerDone *done, void *context,
                 Worker **ret);

pid_t worker_pid(const Worker *worker);

/* In clock ticks after boot, as /proc/PID/stat has it. */
uint64_t worker_start_time(const Worker *worker);

/* Forgets it; the process goes on if it had begun, and ends if it had not. */
Worker *worker_free(Worker *worker);
