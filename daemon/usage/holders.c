#include "daemon/usage/holders.h"

#include "daemon/base/log.h"
#include "daemon/base/util.h"

#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>

/* A user has any number of uids where they have subordinate ones (subuid(5)): hence the limits of
 * all users but root together. */
#define WATCHED_PER_UID  64U
#define WATCHED_OF_USERS 512U
#define RECORDS_PER_UID  1024U
#define RECORDS_OF_USERS 4096U

/* Stands for the users beyond the last record: no process has it (uid_valid()). */
#define UID_OTHERS UINT32_MAX

/* Of one user. */
typedef struct Count {
        unsigned n_records, n_watched;
        Holder *crowd, *crowd_of_walk; /* owned; NULL while there is none */
} Count;

struct Holders {
        sd_event *event;
        const HoldersHandler *handler;
        void *context;
        GHashTable *table;  /* pid -> Holder*, owned */
        GHashTable *counts; /* uid -> Count*, owned */
        Count of_users;     /* the sum of all users but root */
        VfioHolder left;    /* see holders_left_in_walk() */
        unsigned round;
        bool walking;
};

static void holder_free(gpointer data) {
        Holder *holder = data;

        if (!holder)
                return;
        sd_event_source_disable_unref(holder->exit);
        closep(&holder->pidfd);
        vfio_holder_clear(&holder->has);
        g_free(holder->comm);
        g_free(holder->command);
        g_free(holder->unit);
        g_free(holder->machine);
        g_free(holder);
}

static void count_free(gpointer data) {
        Count *count = data;

        holder_free(count->crowd);
        holder_free(count->crowd_of_walk);
        g_free(count);
}

Holders *holders_new(sd_event *event, const HoldersHandler *handler, void *context) {
        Holders *holders = g_new0(Holders, 1);

        holders->event = sd_event_ref(event);
        holders->handler = handler;
        holders->context = context;
        holders->table = g_hash_table_new_full(NULL, NULL, NULL, holder_free);
        holders->counts = g_hash_table_new_full(NULL, NULL, NULL, count_free);
        vfio_holder_init(&holders->left);
        return holders;
}

Holders *holders_free(Holders *holders) {
        if (!holders)
                return NULL;
        g_hash_table_unref(holders->table);
        g_hash_table_unref(holders->counts);
        vfio_holder_clear(&holders->left);
        sd_event_unref(holders->event);
        g_free(holders);
        return NULL;
}

static Count *count_of(Holders *holders, uint32_t uid) {
        Count *count = g_hash_table_lookup(holders->counts, GUINT_TO_POINTER(uid));

        if (!count) {
                count = g_new0(Count, 1);
                g_hash_table_insert(holders->counts, GUINT_TO_POINTER(uid), count);
        }
        return count;
}

static bool has_room_for_record(const Holders *holders, const Count *count, uint32_t uid) {
        return count->n_records < RECORDS_PER_UID &&
               (uid == 0 || holders->of_users.n_records < RECORDS_OF_USERS);
}

static bool has_room_for_watch(const Holders *holders, const Count *count, uint32_t uid) {
        return count->n_watched < WATCHED_PER_UID &&
               (uid == 0 || holders->of_users.n_watched < WATCHED_OF_USERS);
}

/* Without a place for a record, a user who is new is one of the others. */
static Count *count_of_new(Holders *holders, uint32_t uid) {
        bool full = holders->of_users.n_records >= RECORDS_OF_USERS;

        if (uid != 0 && full && !g_hash_table_contains(holders->counts, GUINT_TO_POINTER(uid)))
                return count_of(holders, UID_OTHERS);
        return count_of(holders, uid);
}

static void uncount(Holders *holders, const Holder *holder) {
        Count *count = count_of(holders, holder->uid);

        count->n_records--;
        count->n_watched -= holder->pidfd >= 0;
        if (holder->uid != 0) {
                holders->of_users.n_records--;
                holders->of_users.n_watched -= holder->pidfd >= 0;
        }
        if (count->n_records == 0 && !count->crowd && !count->crowd_of_walk)
                g_hash_table_remove(holders->counts, GUINT_TO_POINTER(holder->uid));
}

static void merge_groups(GArray *to, const GArray *from) {
        for (guint i = 0; i < from->len; i++)
                vfio_groups_add(to, g_array_index(from, int32_t, i));
}

static void note_left(Holders *holders, const VfioHolder *has) {
        merge_groups(holders->left.groups, has->groups);
        for (guint i = 0; i < has->functions->len; i++)
                vfio_functions_add(holders->left.functions,
                                   g_array_index(has->functions, PciKey, i));
}

bool holders_left_in_walk(const Holders *holders, PciKey key, int32_t group) {
        return vfio_groups_contain(holders->left.groups, group) ||
               vfio_functions_contain(holders->left.functions, key);
}

/* The walk may have passed by the process that has it now, also if it has not come to this one. */
static void holders_forget(Holders *holders, Holder *holder) {
        if (holder->round == holders->round || holders->walking)
                note_left(holders, &holder->has);
        uncount(holders, holder);
        g_hash_table_remove(holders->table, GINT_TO_POINTER(holder->pid));
}

static int on_pidfd(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        Holders *holders = userdata;
        GHashTableIter iter;
        Holder *holder;

        g_hash_table_iter_init(&iter, holders->table);
        while (g_hash_table_iter_next(&iter, NULL, (gpointer *) &holder))
                if (holder->pidfd == fd) {
                        pid_t pid = holder->pid;

                        holders_forget(holders, holder);
                        holders->handler->ended(holders->context, pid);
                        break;
                }
        return 0;
}

/* A pid that was taken over meanwhile is noticed with the next look: the start time is another. */
static void watch(Holders *holders, Holder *holder) {
        Count *count = count_of(holders, holder->uid);
        int fd;

        if (!has_room_for_watch(holders, count, holder->uid))
                return;
        fd = (int) syscall(SYS_pidfd_open, holder->pid, 0);
        if (fd < 0)
                return;
        if (sd_event_add_io(holders->event, &holder->exit, fd, EPOLLIN, on_pidfd, holders) < 0) {
                close(fd);
                return;
        }
        (void) sd_event_source_set_description(holder->exit, "holders: end of a process");
        holder->pidfd = fd;
        count->n_watched++;
        holders->of_users.n_watched += holder->uid != 0;
}

static bool same_array(const GArray *a, const GArray *b, size_t size) {
        /* An empty array may have no data, which memcmp() must not get. */
        return a->len == b->len && (a->len == 0 || memcmp(a->data, b->data, a->len * size) == 0);
}

static bool same_facts(const VfioHolder *a, const VfioHolder *b) {
        return same_array(a->groups, b->groups, sizeof(int32_t)) &&
               same_array(a->functions, b->functions, sizeof(PciKey)) &&
               same_array(a->from, b->from, sizeof(int32_t)) && a->n_unnamed == b->n_unnamed;
}

static void add_facts(Holders *holders, VfioHolder *has, const ScanProcess *process) {
        for (uint32_t i = 0; i < MIN(process->n_groups, SCAN_GROUPS_MAX); i++)
                vfio_groups_add(has->groups, process->groups[i]);
        for (uint32_t i = 0; i < MIN(process->n_functions, SCAN_FUNCTIONS_MAX); i++)
                vfio_functions_add(has->functions, process->functions[i]);
        for (uint32_t i = 0; i < MIN(process->n_nodes, SCAN_NODES_MAX); i++) {
                PciKey key;

                if (holders->handler->known_node(holders->context, process->nodes[i], &key))
                        vfio_functions_add(has->functions, key);
        }
        has->n_unnamed += process->n_unnamed;
        merge_groups(has->from, has->groups);
}

static bool replace(char **string, const char *value) {
        if (g_strcmp0(*string, value) == 0)
                return false;
        g_free(*string);
        *string = g_strdup(value);
        return true;
}

/* Returns whether anything is new. */
static bool set_names(Holders *holders, Holder *holder, const ScanProcess *process) {
        bool program = replace(&holder->comm, process->comm);
        bool other = program;

        if (program)
                other |= replace(&holder->command, process->comm);
        other |= replace(&holder->unit, process->unit);
        other |= replace(&holder->machine, process->machine);
        if (program && !holder->is_crowd)
                holders->handler->unnamed(holders->context, holder);
        return other;
}

static Holder *holder_new(const ScanProcess *process) {
        Holder *holder = g_new0(Holder, 1);

        holder->pid = process->pid;
        holder->start_time = process->start_time;
        holder->uid = process->uid;
        holder->pidfd = -1;
        holder->since_usec = (uint64_t) g_get_real_time();
        vfio_holder_init(&holder->has);
        return holder;
}

/* --- crowds */

/* One of many: how many there are is known after a walk. */
static bool join_crowd(Holders *holders, Count *count, const ScanProcess *process) {
        Holder **crowd = holders->walking ? &count->crowd_of_walk : &count->crowd;

        if (*crowd)
                (*crowd)->n_others++;
        else {
                *crowd = holder_new(process);
                (*crowd)->is_crowd = true;
        }
        add_facts(holders, &(*crowd)->has, process);
        (void) set_names(holders, *crowd, process);
        return true;
}

static void replace_crowds(Holders *holders) {
        GHashTableIter iter;
        Count *count;

        g_hash_table_iter_init(&iter, holders->counts);
        while (g_hash_table_iter_next(&iter, NULL, (gpointer *) &count)) {
                if (count->crowd_of_walk && count->crowd)
                        count->crowd_of_walk->since_usec = count->crowd->since_usec;
                holder_free(count->crowd);
                count->crowd = g_steal_pointer(&count->crowd_of_walk);
                if (!count->crowd && count->n_records == 0)
                        g_hash_table_iter_remove(&iter);
        }
}

bool holders_have_crowd(const Holders *holders) {
        GHashTableIter iter;
        const Count *count;

        g_hash_table_iter_init(&iter, holders->counts);
        while (g_hash_table_iter_next(&iter, NULL, (gpointer *) &count))
                if (count->crowd)
                        return true;
        return false;
}

/* --- results */

static bool update(Holders *holders, Holder *holder, const ScanProcess *process) {
        VfioHolder before = holder->has;
        bool other;

        vfio_holder_init(&holder->has);
        add_facts(holders, &holder->has, process);
        merge_groups(holder->has.from, before.from);
        other = !same_facts(&holder->has, &before);
        vfio_holder_clear(&before);
        holder->round = holders->round;
        holder->n_numbers = process->more_numbers ? 0 : MIN(process->n_numbers, SCAN_NUMBERS_MAX);
        memcpy(holder->numbers, process->numbers, sizeof(holder->numbers));
        return set_names(holders, holder, process) || other;
}

/* One that ended during the look at it is none. */
static bool is_holder(Holders *holders, const ScanProcess *process) {
        g_auto(VfioHolder) has = { 0 };

        vfio_holder_init(&has);
        add_facts(holders, &has, process);
        if (process->state != SCAN_STATE_HOLDS && holders->walking)
                note_left(holders, &has);
        return process->state == SCAN_STATE_HOLDS && vfio_holder_holds(&has);
}

/* Of a process in the middle of execve() the start time may not be known. */
static bool is_another(const Holder *holder, const ScanProcess *process) {
        return holder->uid != process->uid || (holder->start_time != process->start_time &&
                                               holder->start_time != 0 && process->start_time != 0);
}

bool holders_take(Holders *holders, const ScanProcess *process) {
        Holder *holder = g_hash_table_lookup(holders->table, GINT_TO_POINTER(process->pid));
        bool holds, other = false;
        Count *count;

        /* A process that cannot be looked at stays as it was. */
        if (process->state == SCAN_STATE_UNCHANGED || process->state == SCAN_STATE_UNKNOWN) {
                if (holder)
                        holder->round = holders->round;
                return false;
        }
        holds = is_holder(holders, process);
        /* A new process may have its pid; and who has become another user is counted as that. */
        if (holder && (!holds || is_another(holder, process))) {
                holders_forget(holders, holder);
                holder = NULL;
                other = true;
        }
        if (!holds)
                return other;
        if (holder)
                return update(holders, holder, process) || other;
        count = count_of_new(holders, process->uid);
        if (!has_room_for_record(holders, count, process->uid))
                return join_crowd(holders, count, process);
        holder = holder_new(process);
        g_hash_table_insert(holders->table, GINT_TO_POINTER(process->pid), holder);
        count->n_records++;
        holders->of_users.n_records += process->uid != 0;
        watch(holders, holder);
        (void) update(holders, holder, process);
        log_debug("process %d (%s) has something of VFIO open", holder->pid, holder->comm);
        return true;
}

void holders_take_same(Holders *holders, const ScanSame *same) {
        g_autoptr(GArray) from = g_array_new(FALSE, FALSE, sizeof(int32_t));
        uint32_t n = MIN(same->n_pids, SCAN_SAME_MAX);

        for (uint32_t i = 0; i < n; i++) {
                const Holder *holder = holders_find(holders, same->pids[i]);

                if (holder)
                        merge_groups(from, holder->has.from);
        }
        for (uint32_t i = 0; i < n; i++) {
                const Holder *holder = holders_find(holders, same->pids[i]);

                if (holder && holder->has.n_unnamed > 0 && holder->has.from->len == 0)
                        merge_groups(holder->has.from, from);
        }
}

bool holders_take_command(Holders *holders, pid_t pid, const char *command) {
        Holder *holder = g_hash_table_lookup(holders->table, GINT_TO_POINTER(pid));

        return holder && command && command[0] != '\0' && replace(&holder->command, command);
}

void holders_start_walk(Holders *holders) {
        holders->round++;
        holders->walking = true;
        vfio_holder_clear(&holders->left);
        vfio_holder_init(&holders->left);
}

static gboolean was_not_seen(gpointer key, gpointer value, gpointer userdata) {
        Holders *holders = userdata;

        if (((const Holder *) value)->round == holders->round)
                return FALSE;
        note_left(holders, &((const Holder *) value)->has);
        uncount(holders, value);
        return TRUE;
}

void holders_end_walk(Holders *holders) {
        /* A process that was opened from after the walk passed it has this round, too. */
        g_hash_table_foreach_remove(holders->table, was_not_seen, holders);
        holders->walking = false;
        replace_crowds(holders);
}

static gboolean is_ended(gpointer key, gpointer value, gpointer userdata) {
        const Holder *holder = value;
        struct pollfd pollfd = { .fd = holder->pidfd, .events = POLLIN };

        if (holder->pidfd < 0 || poll(&pollfd, 1, 0) <= 0)
                return FALSE;
        note_left(userdata, &holder->has);
        uncount(userdata, holder);
        return TRUE;
}

void holders_drop_ended(Holders *holders) {
        g_hash_table_foreach_remove(holders->table, is_ended, holders);
}

const Holder *holders_find(const Holders *holders, pid_t pid) {
        return g_hash_table_lookup(holders->table, GINT_TO_POINTER(pid));
}

static int holders_compare_pids(gconstpointer a, gconstpointer b) {
        pid_t x = (*(const Holder *const *) a)->pid, y = (*(const Holder *const *) b)->pid;

        return (x > y) - (x < y);
}

GPtrArray *holders_sorted(const Holders *holders) {
        GPtrArray *all = g_ptr_array_sized_new(g_hash_table_size(holders->table));
        GHashTableIter iter;
        gpointer holder;
        const Count *count;

        g_hash_table_iter_init(&iter, holders->table);
        while (g_hash_table_iter_next(&iter, NULL, &holder))
                g_ptr_array_add(all, holder);
        g_hash_table_iter_init(&iter, holders->counts);
        while (g_hash_table_iter_next(&iter, NULL, (gpointer *) &count))
                if (count->crowd)
                        g_ptr_array_add(all, count->crowd);
        g_ptr_array_sort(all, holders_compare_pids);
        return all;
}
