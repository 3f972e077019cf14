#include "daemon/holders.h"

#include "daemon/log.h"
#include "daemon/util.h"
#include "policy/number.h"

#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>

/* Passes of a walk, each over those that were forked during the one before. Somebody may fork faster than that. */
#define WALK_PASSES_MAX 8

struct Holders {
        sd_event *event;
        VfioWatch *watch;
        const HoldersHandler *handler;
        void *context;
        GHashTable *table; /* pid -> Holder* */
        unsigned round;
        /* Of a walk that has not ended: */
        DIR *proc;
        GHashTable *walked; /* pids that it has looked at */
        unsigned passes;
        bool found_new; /* in this pass */
};

static void holder_free(gpointer data) {
        Holder *holder = data;

        sd_event_source_disable_unref(holder->exit);
        vfio_fds_clear(&holder->fds);
        process_free(holder->process);
        g_free(holder);
}

static int on_pidfd(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        Holders *holders = userdata;

        /* The pidfd stays readable. */
        (void) sd_event_source_set_enabled(source, SD_EVENT_OFF);
        holders->handler->ended(holders->context);
        return 0;
}

Holders *holders_new(sd_event *event, VfioWatch *watch, const HoldersHandler *handler,
                     void *context) {
        Holders *holders = g_new0(Holders, 1);

        holders->event = sd_event_ref(event);
        holders->watch = watch;
        holders->handler = handler;
        holders->context = context;
        holders->table = g_hash_table_new_full(NULL, NULL, NULL, holder_free);
        holders->walked = g_hash_table_new(NULL, NULL);
        return holders;
}

Holders *holders_free(Holders *holders) {
        if (!holders)
                return NULL;
        closedirp(&holders->proc);
        g_hash_table_unref(holders->walked);
        g_hash_table_unref(holders->table);
        sd_event_unref(holders->event);
        g_free(holders);
        return NULL;
}

static bool has_ended(const Holder *holder) {
        struct pollfd pollfd = { .fd = holder->process->pidfd, .events = POLLIN };

        return poll(&pollfd, 1, 0) > 0;
}

static void merge_groups(GArray *to, const GArray *from) {
        for (guint i = 0; i < from->len; i++)
                vfio_groups_add(to, g_array_index(from, int32_t, i));
}

static bool shares_file(const Holder *a, const Holder *b) {
        for (guint i = 0; i < a->fds.numbers->len; i++)
                for (guint j = 0; j < b->fds.numbers->len; j++)
                        if (vfio_fds_same_file(
                                    a->process->pid, g_array_index(a->fds.numbers, int, i),
                                    b->process->pid, g_array_index(b->fds.numbers, int, j)))
                                return true;
        return false;
}

/* Where the device descriptors come from of those that neither say it nor had a group. */
static void find_origins(Holders *holders) {
        g_autoptr(GPtrArray) all = holders_sorted(holders);

        for (guint i = 0; i < all->len; i++) {
                const Holder *holder = all->pdata[i];

                if (holder->fds.has.n_unnamed == 0 || holder->fds.has.from->len > 0)
                        continue;
                for (guint j = 0; j < all->len; j++)
                        if (j != i && shares_file(holder, all->pdata[j]))
                                merge_groups(holder->fds.has.from,
                                             ((const Holder *) all->pdata[j])->fds.has.from);
        }
}

/* Takes over `fds`. */
static void set_fds(Holders *holders, Holder *holder, VfioFds *fds) {
        if (holder->fds.numbers)
                merge_groups(fds->has.from, holder->fds.has.from);
        vfio_fds_clear(&holder->fds);
        holder->fds = *fds;
        *fds = (VfioFds){ 0 };
        merge_groups(holder->fds.has.from, holder->fds.has.groups);
        for (guint i = 0; i < holder->fds.numbers->len; i++)
                vfio_watch_add_node(holders->watch, holder->process->procfd,
                                    g_array_index(holder->fds.numbers, int, i));
}

static bool add(Holders *holders, pid_t pid, int procfd, VfioFds *fds) {
        Holder *holder = NULL;
        Process *process = NULL;
        int r;

        if (process_new(pid, procfd, &process) < 0)
                return false;
        holder = g_new0(Holder, 1);
        holder->process = process;
        holder->since_usec = (uint64_t) g_get_real_time();
        holder->round = holders->round;
        g_hash_table_replace(holders->table, GINT_TO_POINTER(pid), holder);
        r = sd_event_add_io(holders->event, &holder->exit, process->pidfd, EPOLLIN, on_pidfd,
                            holders);
        if (r < 0)
                log_warning("the end of process %d will be seen late: %s", pid, g_strerror(-r));
        set_fds(holders, holder, fds);
        log_debug("process %d (%s) has something of VFIO open", pid, process->command);
        return true;
}

bool holders_look_at(Holders *holders, pid_t pid) {
        Holder *holder = g_hash_table_lookup(holders->table, GINT_TO_POINTER(pid));
        g_auto(VfioFds) fds = { 0 };
        _cleanup_(closep) int procfd = -1;
        int r;

        /* A new process may have its pid. */
        if (holder && has_ended(holder)) {
                g_hash_table_remove(holders->table, GINT_TO_POINTER(pid));
                holder = NULL;
        }
        if (!holder) {
                procfd = process_open_directory(pid);
                if (procfd < 0)
                        return false;
        }
        vfio_fds_init(&fds);
        r = vfio_fds_read(holder ? holder->process->procfd : procfd, holders->handler->known_node,
                          holders->context, &fds);
        if (r < 0 && r != -ENOENT && r != -ESRCH)
                log_debug("the descriptors of process %d cannot be read: %s", pid, g_strerror(-r));

        if (!vfio_holder_holds(&fds.has)) {
                if (holder)
                        g_hash_table_remove(holders->table, GINT_TO_POINTER(pid));
                return false;
        }
        if (!holder)
                return add(holders, pid, take_fd(&procfd), &fds);
        holder->round = holders->round;
        (void) process_refresh(holder->process);
        set_fds(holders, holder, &fds);
        return true;
}

static bool needs_check(const Holder *holder) {
        return has_ended(holder) || !vfio_fds_are_there(holder->process->procfd, &holder->fds);
}

bool holders_need_check(const Holders *holders) {
        GHashTableIter iter;
        Holder *holder;

        g_hash_table_iter_init(&iter, holders->table);
        while (g_hash_table_iter_next(&iter, NULL, (gpointer *) &holder))
                if (needs_check(holder))
                        return true;
        return false;
}

void holders_check(Holders *holders, bool all) {
        g_autoptr(GPtrArray) sorted = holders_sorted(holders);

        for (guint i = 0; i < sorted->len; i++) {
                const Holder *holder = sorted->pdata[i];

                if (all || needs_check(holder))
                        (void) holders_look_at(holders, holder->process->pid);
        }
}

void holders_start_walk(Holders *holders) {
        closedirp(&holders->proc);
        holders->round++;
        holders->passes = 0;
        holders->found_new = false;
        g_hash_table_remove_all(holders->walked);
        holders->proc = opendir("/proc");
        if (!holders->proc)
                log_error("/proc cannot be read: %m");
}

static gboolean was_not_seen(gpointer key, gpointer value, gpointer userdata) {
        const Holders *holders = userdata;

        return ((const Holder *) value)->round != holders->round;
}

static void end_walk(Holders *holders) {
        closedirp(&holders->proc);
        holders->proc = NULL;
        g_hash_table_remove_all(holders->walked);
        /* A process that was opened from after the walk passed it has this round, too. */
        g_hash_table_foreach_remove(holders->table, was_not_seen, holders);
        find_origins(holders);
}

bool holders_step_walk(Holders *holders, unsigned max_processes) {
        const struct dirent *entry;

        while (holders->proc && max_processes > 0) {
                uint64_t pid;

                entry = readdir(holders->proc);
                if (!entry && holders->found_new && ++holders->passes < WALK_PASSES_MAX) {
                        holders->found_new = false;
                        rewinddir(holders->proc);
                        continue;
                }
                if (!entry) {
                        end_walk(holders);
                        break;
                }
                if (number_parse(entry->d_name, 10, INT_MAX, &pid) < 0 ||
                    !g_hash_table_add(holders->walked, GINT_TO_POINTER((int) pid)))
                        continue;
                holders->found_new = true;
                (void) holders_look_at(holders, (pid_t) pid);
                max_processes--;
        }
        return !holders->proc;
}

static int compare_pids(gconstpointer a, gconstpointer b) {
        pid_t x = (*(const Holder *const *) a)->process->pid,
              y = (*(const Holder *const *) b)->process->pid;

        return (x > y) - (x < y);
}

GPtrArray *holders_sorted(const Holders *holders) {
        GPtrArray *all = g_ptr_array_sized_new(g_hash_table_size(holders->table));
        GHashTableIter iter;
        gpointer holder;

        g_hash_table_iter_init(&iter, holders->table);
        while (g_hash_table_iter_next(&iter, NULL, &holder))
                g_ptr_array_add(all, holder);
        g_ptr_array_sort(all, compare_pids);
        return all;
}
