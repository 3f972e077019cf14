/* Those who wait until it is known who has certain functions open. */
#include "daemon/base/wakeup.h"
#include "daemon/usage/users-state.h"
#include "daemon/usage/users.h"

/* Below the time after which D-Bus clients stop waiting by themselves. */
#define REFRESH_USEC (5 * 1000 * 1000ULL)

typedef struct Refresh {
        Users *users;
        GArray *keys;     /* of PciKey */
        GHashTable *pids; /* who is looked at -> uint64_t*, the ticket */
        sd_event_source *deadline;
        UsersRefreshed *done;
        void *context;
} Refresh;

void users_refresh_free(gpointer data) {
        Refresh *refresh = data;

        sd_event_source_disable_unref(refresh->deadline);
        g_array_unref(refresh->keys);
        g_hash_table_unref(refresh->pids);
        g_free(refresh);
}

static const VfioDevice *device_of(const Refresh *refresh, guint i) {
        return g_hash_table_lookup(refresh->users->functions,
                                   &g_array_index(refresh->keys, PciKey, i));
}

static bool is_sure(const Refresh *refresh) {
        for (guint i = 0; i < refresh->keys->len; i++) {
                const VfioDevice *device = device_of(refresh, i);

                if (device && !users_is_sure(refresh->users, device))
                        return false;
        }
        return true;
}

static void users_refresh_end(Refresh *refresh, int result) {
        UsersRefreshed *done = refresh->done;
        void *context = refresh->context;

        g_ptr_array_remove(refresh->users->refreshes, refresh);
        done(context, result);
}

/* Holders who cannot be looked at again in time count as they were last seen; who opened a node and
 * cannot, may have it. */
static bool only_holders_left(const Refresh *refresh) {
        GHashTableIter iter;
        gpointer pid;

        g_hash_table_iter_init(&iter, refresh->pids);
        while (g_hash_table_iter_next(&iter, &pid, NULL))
                if (!holders_find(refresh->users->holders, GPOINTER_TO_INT(pid)))
                        return false;
        return true;
}

static int on_users_refresh_deadline(sd_event_source *source, uint64_t usec, void *userdata) {
        Refresh *refresh = userdata;

        users_refresh_end(refresh, is_sure(refresh) && only_holders_left(refresh) ? 0 : -ETIMEDOUT);
        return 0;
}

static bool holds_any(const Refresh *refresh, const Holder *holder) {
        /* Of a device that names no function it may be any. */
        if (holder->has.n_unnamed > 0)
                return true;
        for (guint i = 0; i < refresh->keys->len; i++) {
                PciKey key = g_array_index(refresh->keys, PciKey, i);
                const VfioDevice *device = device_of(refresh, i);

                if (vfio_functions_contain(holder->has.functions, key) ||
                    (device && vfio_groups_contain(holder->has.groups, device->vfio.group)))
                        return true;
        }
        return false;
}

static void users_refresh_ask(Refresh *refresh, pid_t pid) {
        uint64_t ticket = users_ask(refresh->users, pid, NULL, true);

        g_hash_table_replace(refresh->pids, GINT_TO_POINTER(pid),
                             g_memdup2(&ticket, sizeof(ticket)));
}

/* Sockets may have been emptied since. What is free is not asked for again: a user whose processes
 * hang when they are looked at would delay every request. */
static void ask_for_doubtful(const Refresh *refresh) {
        for (guint i = 0; i < refresh->keys->len; i++) {
                VfioDevice *device = g_hash_table_lookup(refresh->users->functions,
                                                         &g_array_index(refresh->keys, PciKey, i));

                if (device && device->users && device->finding == VFIO_FOUND_SOMEWHERE &&
                    users_openings_are_doubtful(refresh->users, device))
                        users_need_walk(refresh->users, device);
        }
}

static void ask_holders(Refresh *refresh) {
        g_autoptr(GPtrArray) holders = holders_sorted(refresh->users->holders);

        for (guint i = 0; i < holders->len; i++) {
                const Holder *holder = holders->pdata[i];

                if (!holder->is_crowd && holds_any(refresh, holder))
                        users_refresh_ask(refresh, holder->pid);
        }
}

static bool opened_any(const Refresh *refresh, const Opener *opener) {
        GHashTableIter iter;
        gpointer name;

        for (guint i = 0; i < refresh->keys->len; i++) {
                const VfioDevice *device = device_of(refresh, i);

                g_hash_table_iter_init(&iter, opener->names);
                while (device && g_hash_table_iter_next(&iter, &name, NULL))
                        if (users_node_is(device, name))
                                return true;
        }
        return false;
}

static void ask_openers(Refresh *refresh) {
        GHashTableIter iter;
        gpointer pid;
        const Opener *opener;

        g_hash_table_iter_init(&iter, refresh->users->openers);
        while (g_hash_table_iter_next(&iter, &pid, (gpointer *) &opener))
                if (opened_any(refresh, opener))
                        users_refresh_ask(refresh, GPOINTER_TO_INT(pid));
}

void users_refresh(Users *users, const PciKey *keys, unsigned n_keys, UsersRefreshed *done,
                   void *context) {
        Refresh *refresh = g_new0(Refresh, 1);

        vfio_watch_drain(users->watch);
        refresh->users = users;
        refresh->keys = g_array_new(FALSE, FALSE, sizeof(PciKey));
        g_array_append_vals(refresh->keys, keys, n_keys);
        refresh->pids = g_hash_table_new_full(NULL, NULL, NULL, g_free);
        refresh->done = done;
        refresh->context = context;
        g_ptr_array_add(users->refreshes, refresh);
        if (wakeup_new_deadline(users->event, "users: answer to a request", REFRESH_USEC, 0,
                                on_users_refresh_deadline, refresh, &refresh->deadline) < 0) {
                users_refresh_end(refresh, -ENOMEM);
                return;
        }
        ask_for_doubtful(refresh);
        ask_holders(refresh);
        ask_openers(refresh);
        if (g_hash_table_size(refresh->pids) == 0)
                users_update_soon(users, true);
}

void users_refresh_looked(Users *users, pid_t pid, uint64_t ticket) {
        for (guint i = 0; i < users->refreshes->len; i++) {
                const Refresh *refresh = users->refreshes->pdata[i];
                const uint64_t *wanted = g_hash_table_lookup(refresh->pids, GINT_TO_POINTER(pid));

                if (!wanted || *wanted > ticket)
                        continue;
                users_end_opened(refresh->users, pid);
                g_hash_table_remove(refresh->pids, GINT_TO_POINTER(pid));
                if (g_hash_table_size(refresh->pids) == 0)
                        users_update_soon(users, true);
        }
}

void users_refresh_updated(Users *users) {
        g_autoptr(GPtrArray) ended = g_ptr_array_new();
        guint place;

        for (guint i = 0; i < users->refreshes->len; i++) {
                Refresh *refresh = users->refreshes->pdata[i];

                if (g_hash_table_size(refresh->pids) == 0 && is_sure(refresh))
                        g_ptr_array_add(ended, refresh);
        }
        /* A handler may end others, or begin new ones. */
        for (guint i = 0; i < ended->len; i++)
                if (g_ptr_array_find(users->refreshes, ended->pdata[i], &place))
                        users_refresh_end(ended->pdata[i], 0);
}

void users_end_refreshes(Users *users) {
        while (users->refreshes->len > 0)
                users_refresh_end(users->refreshes->pdata[0], -ECANCELED);
}
