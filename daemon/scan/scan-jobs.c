#include "daemon/scan/scan-jobs.h"

#include "daemon/base/process.h"
#include "daemon/scan/scan-walk.h"
#include "daemon/scan/scan-writers.h"
#include "daemon/scan/vfio-fds.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* Descriptors that are read of one process before another job has its turn. */
#define STEP_FDS 512

typedef struct Look {
        VfioFds *fds;
        ScanProcess process;
} Look;

static void free_look(gpointer data) {
        Look *look = data;

        vfio_fds_free(look->fds);
        g_free(look);
}

/* --- one process */

static bool is_unchanged(ScanChild *child, const ScanRequest *request) {
        return request->n_numbers > 0 &&
               scan_child_is_same(child, request->pid, request->start_time) &&
               vfio_fds_are_there(request->pid, request->numbers, request->n_numbers);
}

static void tell_unchanged(ScanChild *child, const ScanJob *job) {
        g_autofree ScanAnswer *answer = g_new0(ScanAnswer, 1);

        answer->kind = SCAN_KIND_PROCESS;
        answer->process.state = SCAN_STATE_UNCHANGED;
        answer->process.pid = job->request.pid;
        scan_child_send(child, job, answer);
}

static bool step_look(ScanChild *child, ScanJob *job) {
        Look *look = job->data;
        pid_t pid = job->request.pid;
        int r = 0;

        scan_child_at(child, pid);
        if (!look) {
                if (scan_child_avoids(child, pid) & SCAN_AVOID_LOOKING) {
                        scan_child_tell_unknown(child, job, pid, -ETIMEDOUT);
                        return true;
                }
                if (is_unchanged(child, &job->request)) {
                        tell_unchanged(child, job);
                        return true;
                }
                look = g_new0(Look, 1);
                look->process.pid = pid;
                job->data = look;
                job->data_free = free_look;
                r = vfio_fds_open(child, &look->process, VFIO_FDS_ALL, false, &look->fds);
        }
        if (r >= 0)
                r = vfio_fds_read(look->fds, STEP_FDS);
        if (r > 0)
                return false;
        if (r < 0 && !scan_child_is_end(r) && !scan_child_holds_at_least(job, &look->process, r)) {
                scan_child_tell_unknown(child, job, pid, r);
                return true;
        }
        if (scan_child_is_end(r))
                look->process = (ScanProcess){ .pid = pid };
        r = scan_child_tell(child, job, &look->process);
        if (r < 0)
                scan_child_tell_unknown(child, job, pid, r);
        return true;
}

static bool step_command(ScanChild *child, ScanJob *job) {
        g_autofree ScanAnswer *answer = g_new0(ScanAnswer, 1);
        pid_t pid = job->request.pid;
        ssize_t n = -ESRCH;

        scan_child_at(child, pid);
        if (!(scan_child_avoids(child, pid) & SCAN_AVOID_LOOKING))
                n = process_read_command(pid, answer->command.words, SCAN_COMMAND_MAX);
        if (n > 0 && !scan_child_is_same(child, pid, job->request.start_time))
                n = -ESRCH;
        answer->kind = SCAN_KIND_COMMAND;
        answer->command.pid = pid;
        answer->command.size = n > 0 ? (uint32_t) n : 0;
        scan_child_send(child, job, answer);
        return true;
}

/* --- all that is asked */

static void free_job(gpointer data) {
        ScanJob *job = data;

        if (job->data)
                job->data_free(job->data);
        g_free(job);
}

static void scan_jobs_begin(ScanChild *child, const ScanRequest *request) {
        static ScanJobStep *const steps[] = {
                [SCAN_TASK_LOOK] = step_look,
                [SCAN_TASK_WALK] = scan_walk_step,
                [SCAN_TASK_WRITERS] = scan_writers_step,
                [SCAN_TASK_COMMAND] = step_command,
        };
        ScanJob *job = g_new0(ScanJob, 1);

        job->request = *request;
        job->step = steps[MIN(request->task, G_N_ELEMENTS(steps) - 1)];
        g_ptr_array_add(child->jobs, job);
}

/* Returns whether there was one. */
static bool scan_jobs_receive(ScanChild *child, bool wait) {
        struct pollfd pollfd = { .fd = child->channel, .events = POLLIN };
        ScanRequest request;
        ssize_t n;

        if (poll(&pollfd, 1, wait ? -1 : 0) <= 0)
                return false;
        n = recv(child->channel, &request, sizeof(request), 0);
        if (n == sizeof(request))
                scan_jobs_begin(child, &request);
        else if (n >= 0 || errno != EINTR)
                _exit(EXIT_SUCCESS); /* the daemon has ended, or has enough of this one */
        return true;
}

/* Each job has a turn. New ones have theirs first, for most are done at once. */
static void step(ScanChild *child) {
        for (guint i = child->jobs->len; i > 0; i--) {
                ScanJob *job = child->jobs->pdata[i - 1];
                ScanAnswer done = { .kind = SCAN_KIND_DONE };

                if (!job->step(child, job))
                        continue;
                done.result = job->result;
                scan_child_send(child, job, &done);
                g_ptr_array_remove_index(child->jobs, i - 1);
        }
        scan_child_at(child, 0);
}

void scan_jobs_run(ScanChild *child) {
        child->jobs = g_ptr_array_new_with_free_func(free_job);
        for (;;) {
                while (scan_jobs_receive(child, child->jobs->len == 0))
                        ;
                step(child);
        }
}
