#include "daemon/scan/scan-child.h"

#include "daemon/base/process.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

void scan_child_at_both(ScanChild *child, pid_t pid, pid_t peer) {
        atomic_store(&child->progress->peer, peer);
        atomic_store(&child->progress->pid, pid);
        atomic_fetch_add(&child->progress->steps, 1);
}

void scan_child_at(ScanChild *child, pid_t pid) {
        scan_child_at_both(child, pid, 0);
}

/* Whether there are so many processes of that user at which one hung that more will come. A user
 * with subordinate uids (subuid(5)) has them under many. */
static bool is_suspect(const ScanChild *child, uint32_t uid) {
        unsigned n = 0;
        GHashTableIter iter;
        const ScanAvoided *avoided;

        g_hash_table_iter_init(&iter, child->avoid);
        while (g_hash_table_iter_next(&iter, NULL, (gpointer *) &avoided))
                n += avoided->uid == uid;
        return n >= SCAN_SUSPECT_PROCESSES ||
               (uid != 0 && g_hash_table_size(child->avoid) >= SCAN_SUSPECT_OF_USERS);
}

unsigned scan_child_hung_at(const ScanChild *child, pid_t pid) {
        const ScanAvoided *avoided = g_hash_table_lookup(child->avoid, GINT_TO_POINTER(pid));
        struct pollfd pollfd = { .fd = avoided ? avoided->pidfd : -1, .events = POLLIN };

        return avoided && poll(&pollfd, 1, 0) == 0 ? avoided->what : 0;
}

unsigned scan_child_avoids(const ScanChild *child, pid_t pid) {
        unsigned what = scan_child_hung_at(child, pid);
        uint32_t uid;

        if (g_hash_table_size(child->avoid) >= SCAN_SUSPECT_PROCESSES &&
            process_read_uid(pid, &uid) >= 0 && is_suspect(child, uid))
                what |= SCAN_AVOID_COMPARING | SCAN_AVOID_STAT;
        return what;
}

bool scan_child_is_same(ScanChild *child, pid_t pid, uint64_t start_time) {
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

bool scan_child_holds_at_least(ScanJob *job, const ScanProcess *process, int error) {
        if (error != -EOVERFLOW || !holds(process))
                return false;
        job->result = error;
        return true;
}

int scan_child_tell(ScanChild *child, const ScanJob *job, const ScanProcess *process) {
        g_autofree ScanAnswer *answer = NULL;
        g_auto(ProcessFacts) facts = { 0 };
        ScanProcess *told;
        int r = -ESRCH;

        if (!holds(process) && job->request.task == SCAN_TASK_WALK)
                return 0;
        if (holds(process))
                r = scan_child_read_facts(child, process->pid, &facts);
        if (r < 0 && !scan_child_is_end(r))
                return r;
        answer = g_new0(ScanAnswer, 1);
        answer->kind = SCAN_KIND_PROCESS;
        told = &answer->process;
        *told = *process;
        told->state = SCAN_STATE_NOTHING;
        if (r >= 0) {
                told->state = SCAN_STATE_HOLDS;
                told->parent = facts.parent;
                told->uid = facts.uid;
                told->start_time = facts.start_time;
                g_strlcpy(told->comm, facts.comm, sizeof(told->comm));
                g_strlcpy(told->unit, facts.unit, sizeof(told->unit));
                g_strlcpy(told->machine, facts.machine, sizeof(told->machine));
        }
        scan_child_send(child, job, answer);
        return 0;
}
