#include "daemon/usage/scan-child.h"

#include "daemon/base/process.h"
#include "daemon/usage/scan-walk.h"
#include "daemon/usage/scan-writers.h"
#include "daemon/usage/vfio-fds.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Descriptors that are read of one process before another job has its turn. */
#define STEP_FDS 512

typedef struct Look {
        VfioFds *fds;
        ScanProcess process;
} Look;

static void look_free(gpointer data) {
        Look *look = data;

        vfio_fds_free(look->fds);
        g_free(look);
}

void scan_child_at_both(ScanChild *child, pid_t pid, pid_t peer) {
        atomic_store(&child->progress->peer, peer);
        atomic_store(&child->progress->pid, pid);
        atomic_fetch_add(&child->progress->steps, 1);
}

void scan_child_at(ScanChild *child, pid_t pid) {
        scan_child_at_both(child, pid, 0);
}

/* Whether there are so many processes of that user at which one hung that more will come. */
static bool is_suspect(const ScanChild *child, uint32_t uid) {
        unsigned n = 0;
        GHashTableIter iter;
        const ScanAvoided *avoided;

        g_hash_table_iter_init(&iter, child->avoid);
        while (g_hash_table_iter_next(&iter, NULL, (gpointer *) &avoided))
                n += avoided->uid == uid;
        return n >= SCAN_SUSPECT_PROCESSES;
}

unsigned scan_child_avoids(const ScanChild *child, pid_t pid) {
        const ScanAvoided *avoided = g_hash_table_lookup(child->avoid, GINT_TO_POINTER(pid));
        struct pollfd pollfd = { .fd = avoided ? avoided->pidfd : -1, .events = POLLIN };
        unsigned what = avoided && poll(&pollfd, 1, 0) == 0 ? avoided->what : 0;
        uint32_t uid;

        if (g_hash_table_size(child->avoid) >= SCAN_SUSPECT_PROCESSES &&
            process_read_uid(pid, &uid) >= 0 && is_suspect(child, uid))
                what |= SCAN_AVOID_COMPARING | SCAN_AVOID_STAT;
        return what;
}

/* Of a process that hangs in execve(): it is as it was asked for. */
static bool is_same(ScanChild *child, pid_t pid, uint64_t start_time) {
        uint64_t now = 0;
        int r;

        if (start_time == 0 || (scan_child_avoids(child, pid) & SCAN_AVOID_STAT))
                return true;
        scan_child_at_both(child, pid, SCAN_PEER_STAT);
        r = process_read_start_time(pid, &now);
        scan_child_at(child, pid);
        return r >= 0 && now == start_time;
}

int scan_child_read_facts(ScanChild *child, pid_t pid, ProcessFacts *ret) {
        bool stat = !(scan_child_avoids(child, pid) & SCAN_AVOID_STAT);
        int r;

        scan_child_at_both(child, pid, stat ? SCAN_PEER_STAT : SCAN_PEER_NONE);
        r = process_read_facts(pid, stat, ret);
        scan_child_at(child, pid);
        return r;
}

void scan_child_send(ScanChild *child, const ScanJob *job, ScanAnswer *answer) {
        scan_child_at(child, 0); /* the daemon may have something else to do */
        answer->ticket = job->request.ticket;
        if (send(child->channel, answer, sizeof(*answer), MSG_NOSIGNAL) < 0)
                _exit(EXIT_SUCCESS);
}

bool scan_child_is_end(int error) {
        return error == -ENOENT || error == -ESRCH;
}

void scan_child_tell_unknown(ScanChild *child, ScanJob *job, pid_t pid, int error) {
        g_autofree ScanAnswer *answer = g_new0(ScanAnswer, 1);

        job->result = error;
        answer->kind = SCAN_KIND_PROCESS;
        answer->process.state = SCAN_STATE_UNKNOWN;
        answer->process.pid = pid;
        scan_child_send(child, job, answer);
}

static bool holds(const ScanProcess *process) {
        return process->n_groups > 0 || process->n_functions > 0 || process->n_nodes > 0 ||
               process->n_unnamed > 0;
}

void scan_child_tell(ScanChild *child, const ScanJob *job, const ScanProcess *process) {
        g_autofree ScanAnswer *answer = NULL;
        g_auto(ProcessFacts) facts = { 0 };
        ScanProcess *told;

        if (!holds(process) && job->request.task == SCAN_TASK_WALK)
                return;
        answer = g_new0(ScanAnswer, 1);
        answer->kind = SCAN_KIND_PROCESS;
        told = &answer->process;
        *told = *process;
        told->state = SCAN_STATE_NOTHING;
        if (holds(process) && scan_child_read_facts(child, process->pid, &facts) >= 0) {
                told->state = SCAN_STATE_HOLDS;
                told->parent = facts.parent;
                told->uid = facts.uid;
                told->start_time = facts.start_time;
                g_strlcpy(told->comm, facts.comm, sizeof(told->comm));
                g_strlcpy(told->unit, facts.unit, sizeof(told->unit));
                g_strlcpy(told->machine, facts.machine, sizeof(told->machine));
        }
        scan_child_send(child, job, answer);
}

/* --- one process */

static bool is_unchanged(ScanChild *child, const ScanRequest *request) {
        return request->n_numbers > 0 && is_same(child, request->pid, request->start_time) &&
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
                job->data_free = look_free;
                r = vfio_fds_open(pid, child->fanotify, &look->process, &look->fds);
        }
        if (r >= 0)
                r = vfio_fds_read(look->fds, STEP_FDS);
        if (r > 0)
                return false;
        if (r < 0 && !scan_child_is_end(r)) {
                scan_child_tell_unknown(child, job, pid, r);
                return true;
        }
        if (r < 0)
                look->process = (ScanProcess){ .pid = pid };
        scan_child_tell(child, job, &look->process);
        return true;
}

static bool step_command(ScanChild *child, ScanJob *job) {
        g_autofree ScanAnswer *answer = g_new0(ScanAnswer, 1);
        pid_t pid = job->request.pid;
        ssize_t n = -ESRCH;

        scan_child_at(child, pid);
        if (!(scan_child_avoids(child, pid) & SCAN_AVOID_LOOKING))
                n = process_read_command(pid, answer->command.words, SCAN_COMMAND_MAX);
        if (n > 0 && !is_same(child, pid, job->request.start_time))
                n = -ESRCH;
        answer->kind = SCAN_KIND_COMMAND;
        answer->command.pid = pid;
        answer->command.size = n > 0 ? (uint32_t) n : 0;
        scan_child_send(child, job, answer);
        return true;
}

/* --- all that is asked */

static void job_free(gpointer data) {
        ScanJob *job = data;

        if (job->data)
                job->data_free(job->data);
        g_free(job);
}

static void begin(ScanChild *child, const ScanRequest *request) {
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
static bool receive(ScanChild *child, bool wait) {
        struct pollfd pollfd = { .fd = child->channel, .events = POLLIN };
        ScanRequest request;
        ssize_t n;

        if (poll(&pollfd, 1, wait ? -1 : 0) <= 0)
                return false;
        n = recv(child->channel, &request, sizeof(request), 0);
        if (n == sizeof(request))
                begin(child, &request);
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
                done.n_files = job->n_files;
                scan_child_send(child, job, &done);
                g_ptr_array_remove_index(child->jobs, i - 1);
        }
        scan_child_at(child, 0);
}

void scan_child_run(ScanChild *child) {
        child->jobs = g_ptr_array_new_with_free_func(job_free);
        for (;;) {
                while (receive(child, child->jobs->len == 0))
                        ;
                step(child);
        }
}
