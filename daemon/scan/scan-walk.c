#include "daemon/scan/scan-walk.h"

#include "daemon/base/process.h"
#include "daemon/base/util.h"
#include "daemon/scan/scan-copies.h"
#include "daemon/scan/vfio-fds.h"
#include "policy/number.h"

#include <limits.h>
#include <linux/kcmp.h>
#include <sys/syscall.h>

/* Passes over the processes, each over those that were forked during the one before. Somebody may
 * fork faster than that. */
#define PASSES_MAX 8
/* So many passes without a new process end it. The kernel begins with the low numbers again after
 * the highest: a child that gets one is behind the pass during which that happens. */
#define QUIET_PASSES   2
#define STEP_PROCESSES 16
/* Descriptors of one process that are read in the first pass, and of a large table between two
 * looks at other requests. */
#define SMALL_FDS 512
/* Processes that share one table of descriptors. */
typedef struct Table {
        uint32_t uid;
        GArray *pids;
        bool told;
} Table;

typedef struct Walk {
        DIR *proc;
        GHashTable *walked; /* pids */
        unsigned passes;    /* that found a process that is new */
        unsigned n_quiet;   /* passes at the end that found none */
        bool found_new;     /* in this pass */
        pid_t lost;         /* since this pass began: one that ended before it was read; 0: none */
        GArray *large;      /* of pid_t: to be looked at afterwards */
        guint n_placed;     /* of `large`, in `tables` */
        GPtrArray *all;     /* of Table*, owned */
        GPtrArray
                *tables; /* of those the ones that can be compared, by user, then in kcmp's order */
        GPtrArray *unread;    /* of those the ones to be read, ... */
        guint n_read;         /* ... but so many, which were */
        VfioFds *fds;         /* what is being read */
        ScanProcess *process; /* that is being looked at ... */
        ScanProcess *shared;  /* ... and what it shares with others, ... */
        bool shared_is_read;  /* ... which is known now ... */
        guint n_sharers;      /* ... and was reported of so many of them */
        ScanCopies *copies;
        bool large_is_done; /* the last pass has begun */
} Walk;

static void table_free(gpointer data) {
        Table *table = data;

        g_array_unref(table->pids);
        g_free(table);
}

static void walk_free(gpointer data) {
        Walk *walk = data;

        closedirp(&walk->proc);
        vfio_fds_free(walk->fds);
        g_hash_table_unref(walk->walked);
        g_array_unref(walk->large);
        g_ptr_array_unref(walk->tables);
        g_ptr_array_unref(walk->unread);
        g_ptr_array_unref(walk->all);
        scan_copies_free(walk->copies);
        g_free(walk->process);
        g_free(walk->shared);
        g_free(walk);
}

static Walk *walk_new(void) {
        Walk *walk = g_new0(Walk, 1);

        walk->proc = opendir("/proc");
        walk->walked = g_hash_table_new(NULL, NULL);
        walk->large = g_array_new(FALSE, FALSE, sizeof(pid_t));
        walk->all = g_ptr_array_new_with_free_func(table_free);
        walk->tables = g_ptr_array_new();
        walk->unread = g_ptr_array_new();
        walk->copies = scan_copies_new();
        walk->process = g_new0(ScanProcess, 1);
        walk->shared = g_new0(ScanProcess, 1);
        return walk;
}

/* --- who has what */

/* Returns 0, or a negative errno: nothing was sent, and the process in `answer` is root's. */
static int send_pending(ScanChild *child, ScanJob *job, ScanAnswer *answer, pid_t pid) {
        int r = process_read_owner(pid, &answer->pending.uid, &answer->pending.groups);

        answer->kind = SCAN_KIND_PENDING;
        answer->pending.pid = pid;
        if (r >= 0)
                scan_child_send(child, job, answer);
        return r;
}

/* Its sockets may have descriptors, like all that it may have. */
static void scan_walk_tell_unknown(ScanChild *child, ScanJob *job, pid_t pid, int error) {
        g_autofree ScanAnswer *answer = g_new0(ScanAnswer, 1);
        int r;

        scan_child_tell_unknown(child, job, pid, error);
        if (!job->request.sockets)
                return;
        r = send_pending(child, job, answer, pid);
        if (r < 0 && !scan_child_is_end(r))
                scan_child_send(child, job, answer);
}

static void tell_pending(ScanChild *child, ScanJob *job, pid_t pid) {
        g_autofree ScanAnswer *answer = g_new0(ScanAnswer, 1);
        int r = send_pending(child, job, answer, pid);

        /* A process that has ended has no socket. */
        if (r < 0 && !scan_child_is_end(r))
                scan_walk_tell_unknown(child, job, pid, r);
}

static void scan_walk_tell(ScanChild *child, ScanJob *job, const ScanProcess *process) {
        const Walk *walk = job->data;
        int r;

        scan_copies_note(walk->copies, process);
        /* systemd reads what its services store with it, this daemon for one, and leaves nothing.
         */
        if (process->pending && process->pid != 1)
                tell_pending(child, job, process->pid);
        r = scan_child_tell(child, job, process);
        if (r < 0)
                scan_walk_tell_unknown(child, job, process->pid, r);
}

/* Of one that ended meanwhile anything from all to nothing was read. */
static bool scan_walk_has_ended(pid_t pid) {
        pid_t thread;

        return scan_child_is_end(process_find_live_thread(pid, &thread));
}

/* Of a process with many descriptors, the first ones. */
static void look_at_process(ScanChild *child, ScanJob *job, pid_t pid) {
        Walk *walk = job->data;
        VfioFds *fds = NULL;
        int r = -ETIMEDOUT;

        scan_child_at(child, pid);
        *walk->process = (ScanProcess){ .pid = pid };
        if (!(scan_child_avoids(child, pid) & SCAN_AVOID_LOOKING))
                r = vfio_fds_open(child, walk->process, VFIO_FDS_ALL, job->request.sockets, &fds);
        if (r >= 0)
                r = vfio_fds_read(fds, SMALL_FDS);
        vfio_fds_free(fds);
        if (r == 0 && job->request.sockets && scan_walk_has_ended(pid))
                walk->lost = pid;
        if (r > 0)
                g_array_append_val(walk->large, pid);
        else if (r == 0 || scan_child_holds_at_least(job, walk->process, r))
                scan_walk_tell(child, job, walk->process);
        else if (!scan_child_is_end(r))
                scan_walk_tell_unknown(child, job, pid, r);
        else
                walk->lost = pid;
}

/* After the last pass: what that one had may be its child's, and so on. Nobody is lost in a pass
 * that finds nobody. */
static void tell_lost(ScanChild *child, ScanJob *job) {
        const Walk *walk = job->data;
        g_autofree ScanAnswer *answer = g_new0(ScanAnswer, 1);

        if (walk->lost == 0 || !job->request.sockets)
                return;
        answer->kind = SCAN_KIND_PENDING;
        answer->pending.pid = walk->lost;
        answer->pending.lost = true;
        scan_child_send(child, job, answer);
}

/* Returns whether that was the last one. */
static bool end_pass(Walk *walk) {
        walk->n_quiet = walk->found_new ? 0 : walk->n_quiet + 1;
        walk->passes += walk->found_new;
        if (walk->passes >= PASSES_MAX || walk->n_quiet >= QUIET_PASSES)
                return true;
        walk->found_new = false;
        walk->lost = 0;
        rewinddir(walk->proc);
        return false;
}

/* Returns whether the passes have ended. */
static bool step_processes(ScanChild *child, ScanJob *job) {
        Walk *walk = job->data;

        for (unsigned n = 0; n < STEP_PROCESSES;) {
                const struct dirent *entry = readdir(walk->proc);
                uint64_t pid;

                if (!entry && end_pass(walk))
                        return true;
                if (!entry)
                        continue;
                if (number_parse(entry->d_name, 10, INT_MAX, &pid) < 0 ||
                    !g_hash_table_add(walk->walked, GINT_TO_POINTER((int) pid)))
                        continue;
                walk->found_new = true;
                look_at_process(child, job, (pid_t) pid);
                n++;
        }
        return false;
}

/* kcmp(2) returns 0 for the same, 1 for less, 2 for greater; else it cannot tell, or the process
 * has ended. */
static long compare_tables(ScanChild *child, pid_t a, pid_t b) {
        scan_child_at_both(child, a, b);
        return syscall(SYS_kcmp, a, b, KCMP_FILES, 0, 0);
}

/* Where among the tables the process's is, or belongs. Returns whether it is there. */
static bool find_table(ScanChild *child, const Walk *walk, pid_t pid, uint32_t uid,
                       guint *ret_place) {
        guint low = 0, high = walk->tables->len;

        while (low < high) {
                guint middle = (low + high) / 2;
                const Table *table = walk->tables->pdata[middle];
                long order = table->uid < uid ? 2 : 1;

                if (table->uid == uid)
                        order = compare_tables(child, pid, g_array_index(table->pids, pid_t, 0));
                *ret_place = middle;
                if (order == 0)
                        return true;
                if (order == 2)
                        low = middle + 1;
                else
                        high = middle;
        }
        *ret_place = low;
        return false;
}

/* kcmp(2) compares the tables of first threads. One that has ended has none, and all these would be
 * the same. */
static bool is_comparable(const ScanChild *child, pid_t pid, const ProcessStatus *status) {
        return !(scan_child_avoids(child, pid) & SCAN_AVOID_COMPARING) && !status->ended;
}

static Table *add_table(Walk *walk, uint32_t uid) {
        Table *table = g_new0(Table, 1);

        table->uid = uid;
        table->pids = g_array_new(FALSE, FALSE, sizeof(pid_t));
        g_ptr_array_add(walk->all, table);
        g_ptr_array_add(walk->unread, table);
        return table;
}

/* Returns whether all large ones have their table. */
static bool step_place(ScanChild *child, const ScanJob *job) {
        Walk *walk = job->data;
        Table *table;
        ProcessStatus status;
        guint place = 0;
        pid_t pid;

        if (walk->n_placed == walk->large->len)
                return true;
        pid = g_array_index(walk->large, pid_t, walk->n_placed++);
        scan_child_at(child, pid);
        if (process_read_status(pid, &status) < 0) {
                walk->lost = pid;
                return false;
        }
        if (!is_comparable(child, pid, &status))
                table = add_table(walk, status.uid);
        else if (find_table(child, walk, pid, status.uid, &place)) {
                table = walk->tables->pdata[place];
                if (table->told)
                        g_ptr_array_add(walk->unread, table);
                table->told = false;
        } else {
                table = add_table(walk, status.uid);
                g_ptr_array_insert(walk->tables, (gint) place, table);
        }
        g_array_append_val(table->pids, pid);
        return false;
}

/* --- large tables */

/* What all processes have that share the table, in `shared`. Returns 0 when it is read, 1 when
 * there is more, or a negative errno. */
static int read_shared(ScanChild *child, const ScanJob *job, pid_t pid) {
        Walk *walk = job->data;
        int r = 0;

        if (!walk->fds) {
                *walk->shared = (ScanProcess){ .pid = pid };
                r = vfio_fds_open(child, walk->shared, VFIO_FDS_FIRST, job->request.sockets,
                                  &walk->fds);
        }
        if (r >= 0)
                r = vfio_fds_read(walk->fds, SMALL_FDS);
        if (r <= 0)
                walk->fds = vfio_fds_free(walk->fds);
        return r;
}

/* What one of them has besides, by tables of its threads; and reports it. Returns whether that is
 * done. */
static bool step_sharer(ScanChild *child, ScanJob *job, pid_t pid) {
        Walk *walk = job->data;
        int r = 0;

        if (!walk->fds) {
                *walk->process = *walk->shared;
                walk->process->pid = pid;
                r = vfio_fds_open(child, walk->process, VFIO_FDS_OF_THREADS, job->request.sockets,
                                  &walk->fds);
        }
        if (r >= 0)
                r = vfio_fds_read(walk->fds, SMALL_FDS);
        if (r > 0)
                return false;
        walk->fds = vfio_fds_free(walk->fds);
        if (scan_walk_has_ended(pid))
                walk->lost = pid;
        if (r < 0 && !scan_child_is_end(r) && !scan_child_holds_at_least(job, walk->process, r))
                scan_walk_tell_unknown(child, job, pid, r);
        else
                scan_walk_tell(child, job, walk->process);
        return true;
}

static void tell_unread(ScanChild *child, ScanJob *job, const Table *table, int error) {
        for (guint i = 0; i < table->pids->len; i++)
                scan_walk_tell_unknown(child, job, g_array_index(table->pids, pid_t, i), error);
}

static void end_large(Walk *walk, Table *table) {
        table->told = true;
        walk->n_read++;
        walk->shared_is_read = false;
        walk->n_sharers = 0;
}

/* Returns whether all are read. */
static bool step_large(ScanChild *child, ScanJob *job) {
        Walk *walk = job->data;
        Table *table;
        pid_t pid;
        int r;

        if (walk->n_read == walk->unread->len)
                return true;
        table = walk->unread->pdata[walk->n_read];
        pid = g_array_index(table->pids, pid_t, walk->n_sharers);
        scan_child_at(child, pid);
        if (walk->shared_is_read) {
                walk->n_sharers += step_sharer(child, job, pid);
                if (walk->n_sharers == table->pids->len)
                        end_large(walk, table);
                return false;
        }
        r = read_shared(child, job, pid);
        if (r > 0)
                return false;
        if (r == 0 && table->pids->len > 1 && scan_walk_has_ended(pid))
                r = -ESRCH;
        walk->shared_is_read = r == 0;
        if (r == 0)
                return false;
        /* It has ended, and the others go on with the table. */
        if (scan_child_is_end(r) && table->pids->len > 1) {
                g_array_remove_index(table->pids, 0);
                return false;
        }
        if (scan_child_is_end(r))
                walk->lost = pid;
        else
                tell_unread(child, job, table, r);
        end_large(walk, table);
        return false;
}

/* Those who were forked from a large one meanwhile. */
static bool begin_last_pass(Walk *walk) {
        if (walk->large_is_done || walk->large->len == 0)
                return false;
        walk->large_is_done = true;
        walk->found_new = false;
        walk->n_quiet = 0;
        walk->lost = 0;
        rewinddir(walk->proc);
        return true;
}

bool scan_walk_step(ScanChild *child, ScanJob *job) {
        Walk *walk = job->data;

        if (!walk) {
                walk = walk_new();
                job->data = walk;
                job->data_free = walk_free;
        }
        if (!walk->proc) {
                job->result = -errno;
                return true;
        }
        if (!step_processes(child, job) || !step_place(child, job) || !step_large(child, job) ||
            begin_last_pass(walk) || !scan_copies_step(walk->copies, child))
                return false;
        scan_copies_tell(walk->copies, child, job);
        tell_lost(child, job);
        return true;
}
