/* The requests of the users to the scanner, and its answers. */
#include "daemon/base/util.h"
#include "daemon/usage/users-state.h"

#include "daemon/base/log.h"

#include <assert.h>
#include <string.h>

/* An open is reported before the opener has its descriptor (do_sys_openat2()), and the device
 * follows by ioctl: it is looked at more than once. */
#define OPENER_INTERVAL_USEC 15000
/* A command line that is not there by then is reported when it comes. */
#define NAMING_USEC 10000
/* When some process could not be looked at, all are looked at again so much later. */
#define WALK_RETRY_USEC (1000 * 1000ULL)
/* When descriptors wait in a socket, so much later; in one walk after the other, at most. */
#define SOCKETS_AGAIN_USEC (100 * 1000ULL)
#define SOCKET_WALKS_MAX   3

/* --- asking */

void users_look_at_openers(Users *users) {
        uint64_t now = now_usec();
        GHashTableIter iter;
        gpointer pid;
        Opener *opener;

        if (users->openers_due_usec > now)
                return;
        users->openers_due_usec = UINT64_MAX;
        g_hash_table_iter_init(&iter, users->openers);
        while (g_hash_table_iter_next(&iter, &pid, (gpointer *) &opener))
                if (opener->ticket == 0 && opener->due_usec <= now) {
                        opener->left--;
                        opener->ticket = users_ask(users, GPOINTER_TO_INT(pid), NULL, true);
                } else if (opener->ticket == 0)
                        users_note_due(users, opener);
}

static void users_look_end_round(Users *users) {
        users->n_rounds_ended = users->n_rounds;
        users->check_cost_usec = now_usec() - users->check_begun_usec;
        users_update_soon(users, false);
        if (users->check || users->check_all)
                users_schedule(users);
}

/* One of its descriptors may have been closed, and the number be another node's by now: so it is
 * not enough that all numbers are there. */
static bool may_have_closed(const Users *users, const Holder *holder) {
        for (guint i = 0; i < holder->has.groups->len; i++) {
                g_autofree char *group =
                        g_strdup_printf("%d", g_array_index(holder->has.groups, int32_t, i));

                if (vfio_closings_has(users->closings, group))
                        return true;
        }
        return false;
}

void users_look_at_holders(Users *users) {
        bool closings = vfio_closings_any(users->closings);
        g_autoptr(GPtrArray) sorted = NULL;

        /* One round after the other: they are behind if the last has not ended. */
        if (users->n_checks > 0 || !(users->check || users->check_all))
                return;
        sorted = holders_sorted(users->holders);
        users->check_begun_usec = now_usec();
        users->n_rounds++;
        users->first_check = 0;
        for (guint i = 0; i < sorted->len; i++) {
                const Holder *holder = sorted->pdata[i];
                bool all;

                if (holder->is_crowd)
                        continue;
                users->n_checks++;
                all = users->check_all || (closings && may_have_closed(users, holder));
                users->last_check = users_ask(users, holder->pid, all ? NULL : holder, false);
                if (users->first_check == 0)
                        users->first_check = users->last_check;
        }
        users->check = users->check_all = false;
        if (users->n_checks == 0)
                users_look_end_round(users);
}

void users_walk(Users *users) {
        ScanRequest request = {
                .task = SCAN_TASK_WALK,
                .sockets = vfio_openings_is_doubtful(users->openings, NULL),
        };

        assert(!users->walking);
        users_sockets_free(users->next_sockets);
        users->next_sockets = users_sockets_new();
        users->everybody = false;
        users->walking = true;
        users->n_walks++;
        g_hash_table_remove_all(users->strays);
        holders_start_walk(users->holders);
        (void) scanner_ask(users->scanner, &request, true);
}

/* --- answers */

static gboolean is_of_process(gpointer name, gpointer value, gpointer pid) {
        return ((const Opened *) value)->pid == GPOINTER_TO_INT(pid);
}

static gboolean is_looked_at(gpointer name, gpointer value, gpointer pid) {
        Opened *opened = value;

        return opened->pid == GPOINTER_TO_INT(pid) && --opened->left == 0;
}

/* It neither has what it opened nor closed it: somebody else has it from them. */
static void search_for_opened(Users *users, const Opener *opener) {
        GHashTableIter iter, devices;
        gpointer name;
        VfioDevice *device;

        g_hash_table_iter_init(&iter, opener->names);
        while (g_hash_table_iter_next(&iter, &name, NULL)) {
                if (!vfio_openings_is_open(users->openings, name))
                        continue;
                users->everybody = true;
                g_hash_table_iter_init(&devices, users->functions);
                while (g_hash_table_iter_next(&devices, NULL, (gpointer *) &device))
                        if (users_node_is(device, name))
                                users_need_walk(users, device);
        }
}

void users_end_opened(Users *users, pid_t pid) {
        const Opener *opener = g_hash_table_lookup(users->openers, GINT_TO_POINTER(pid));

        if (opener && !holders_find(users->holders, pid))
                search_for_opened(users, opener);
        (void) g_hash_table_foreach_remove(users->opened, is_of_process, GINT_TO_POINTER(pid));
}

static void opener_looked_at(Users *users, pid_t pid, uint64_t ticket) {
        Opener *opener = g_hash_table_lookup(users->openers, GINT_TO_POINTER(pid));
        bool has = holders_find(users->holders, pid) != NULL;

        if (!opener || opener->ticket != ticket)
                return;
        opener->ticket = 0;
        if (!has && opener->left == 0)
                search_for_opened(users, opener);
        /* Not before the last look: a user found now may end before it is reported, and leave the
         * descriptor to a child. */
        (void) g_hash_table_foreach_remove(users->opened, is_looked_at, GINT_TO_POINTER(pid));
        if (opener->left == 0)
                g_hash_table_remove(users->openers, GINT_TO_POINTER(pid));
        else {
                opener->due_usec = MAX(opener->due_usec, now_usec() + OPENER_INTERVAL_USEC);
                users_note_due(users, opener);
        }
        users_schedule(users);
        users_update_soon(users, false);
}

static void end_look(Users *users, const ScanRequest *request, uint64_t ticket) {
        opener_looked_at(users, request->pid, ticket);
        if (users->n_checks > 0 && ticket >= users->first_check && ticket <= users->last_check &&
            --users->n_checks == 0)
                users_look_end_round(users);
        users_refresh_looked(users, request->pid, ticket);
}

/* Descriptors wait in a socket for a moment whenever one is passed on. Only a process counts that
 * two walks, one after the other, found; the walks before do not answer anything. A descriptor may
 * have got from one process to another between them, so another walk follows where they found
 * different ones. Returns whether one does. */
static bool look_again_at_sockets(Users *users) {
        UsersSockets *found = g_steal_pointer(&users->next_sockets), *both = NULL;

        if (users->n_socket_walks > 0)
                both = users_sockets_in_both(found, users->last_sockets);
        if (++users->n_socket_walks < SOCKET_WALKS_MAX && users_any_in_socket(users, found) &&
            !users_any_in_socket(users, both)) {
                users_sockets_free(both);
                users_sockets_free(users->last_sockets);
                users->last_sockets = found;
                return true;
        }
        users_sockets_free(users->sockets);
        users->sockets = both ? both : g_steal_pointer(&found);
        users_sockets_free(found);
        return false;
}

static void end_walk(Users *users, int result) {
        holders_end_walk(users->holders);
        users->walking = false;
        /* What an earlier daemon recorded depends on the sockets, also if some processes cannot be
         * looked at. Later walks that fail answer nothing. */
        if ((result >= 0 || users->n_walks_ended == 0) && look_again_at_sockets(users)) {
                users->everybody = true;
                users->walk_not_before_usec = now_usec() + SOCKETS_AGAIN_USEC;
                users_schedule(users);
                return;
        }
        users->n_socket_walks = 0;
        if (result >= 0 || users->n_walks_ended == 0)
                users->n_walks_ended = users->n_walks;
        users->all_seen = result >= 0;
        users->walk_failed = result < 0;
        if (result >= 0 && users->any_unlookable) {
                users->any_unlookable = false;
                users->handler->unlookable(users->context, 0);
        }
        if (result < 0) {
                users->everybody = true;
                users->walk_not_before_usec = now_usec() + WALK_RETRY_USEC;
        }
        users_update_soon(users, false);
        users_schedule(users);
}

/* It may have been looked at before it closed something. */
static void look_again_for_closings(Users *users) {
        if (!vfio_closings_found(users->closings, users->n_rounds + 1))
                return;
        users->check = true;
        users_schedule(users);
}

static void on_users_look_answer(void *context, const ScanRequest *request,
                                 const ScanAnswer *answer) {
        Users *users = context;

        switch (answer->kind) {
        case SCAN_KIND_PROCESS:
                if (answer->process.state == SCAN_STATE_UNKNOWN && !users->any_unlookable) {
                        users->any_unlookable = true;
                        users->handler->unlookable(users->context, answer->process.pid);
                }
                if (!holders_take(users->holders, &answer->process))
                        return;
                look_again_for_closings(users);
                if (request->task == SCAN_TASK_LOOK)
                        users_update_soon(users, false);
                return;
        case SCAN_KIND_SAME:
                holders_take_same(users->holders, &answer->same);
                return;
        case SCAN_KIND_PENDING:
                users_sockets_add(users->next_sockets, &answer->pending);
                return;
        case SCAN_KIND_DONE:
                if (request->task == SCAN_TASK_WALK)
                        end_walk(users, answer->result);
                else
                        end_look(users, request, answer->ticket);
                return;
        default:
                return;
        }
}

const ScannerHandler users_scanner_handler = { on_users_look_answer, NULL };

/* --- names */

static void on_unnamed(void *context, const Holder *holder) {
        Users *users = context;

        if (holder->pidfd < 0 ||
            !commands_ask(users->commands, holder->pid, holder->start_time, holder->uid))
                return;
        if (g_hash_table_size(users->unnamed) == 0)
                users->naming_until_usec = now_usec() + NAMING_USEC;
        g_hash_table_add(users->unnamed, GINT_TO_POINTER(holder->pid));
}

void users_on_command(void *context, pid_t pid, const char *command) {
        Users *users = context;

        (void) g_hash_table_remove(users->unnamed, GINT_TO_POINTER(pid));
        (void) holders_take_command(users->holders, pid, command);
        users_update_soon(users, false);
}

static void on_users_look_ended(void *context, pid_t pid) {
        Users *users = context;

        (void) g_hash_table_remove(users->unnamed, GINT_TO_POINTER(pid));
        users_update_soon(users, false);
}

static bool known_node(void *context, dev_t node, PciKey *ret) {
        const Users *users = context;
        GHashTableIter iter;
        VfioDevice *device;

        g_hash_table_iter_init(&iter, users->functions);
        while (g_hash_table_iter_next(&iter, NULL, (gpointer *) &device))
                if (device->node != 0 && device->node == node) {
                        *ret = device->vfio.key;
                        return true;
                }
        return false;
}

const HoldersHandler users_holders_handler = { on_users_look_ended, on_unnamed, known_node };
