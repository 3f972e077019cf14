/* Descriptors that wait in sockets, and of which functions they may be. */
#include "daemon/usage/users-state.h"

/* With what is asked again and again: there may be thousands of functions. */
struct UsersSockets {
        GHashTable *pending;      /* pid -> ScanPending*, owned */
        pid_t of_root, of_others; /* the lowest, 0 none */
        pid_t lost;               /* who may have passed on anything by forking, 0 none */
        GHashTable *uids, *gids;  /* -> the lowest pid, 0 none; groups as far as asked */
        GHashTable *accesses;     /* name of a node -> VfioNodeAccess*, owned */
};

UsersSockets *users_sockets_new(void) {
        UsersSockets *sockets = g_new0(UsersSockets, 1);

        sockets->pending = g_hash_table_new_full(NULL, NULL, NULL, g_free);
        sockets->uids = g_hash_table_new(NULL, NULL);
        sockets->gids = g_hash_table_new(NULL, NULL);
        sockets->accesses = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
        return sockets;
}

UsersSockets *users_sockets_free(UsersSockets *sockets) {
        if (!sockets)
                return NULL;
        g_hash_table_unref(sockets->pending);
        g_hash_table_unref(sockets->uids);
        g_hash_table_unref(sockets->gids);
        g_hash_table_unref(sockets->accesses);
        g_free(sockets);
        return NULL;
}

/* Of two pids, of which 0 is none. */
static pid_t lower(pid_t a, pid_t b) {
        return a == 0 || (b != 0 && b < a) ? b : a;
}

static void note_lower(GHashTable *table, uint32_t id, pid_t pid) {
        gpointer before = g_hash_table_lookup(table, GUINT_TO_POINTER(id));

        g_hash_table_insert(table, GUINT_TO_POINTER(id),
                            GINT_TO_POINTER(lower(GPOINTER_TO_INT(before), pid)));
}

void users_sockets_add(UsersSockets *sockets, const ScanPending *pending) {
        pid_t *of = pending->uid == 0 ? &sockets->of_root : &sockets->of_others;

        if (pending->lost) {
                sockets->lost = pending->pid;
                return;
        }
        g_hash_table_insert(sockets->pending, GINT_TO_POINTER(pending->pid),
                            g_memdup2(pending, sizeof(*pending)));
        *of = lower(*of, pending->pid);
        note_lower(sockets->uids, pending->uid, pending->pid);
        g_hash_table_remove_all(sockets->gids);
}

UsersSockets *users_sockets_in_both(const UsersSockets *a, const UsersSockets *b) {
        UsersSockets *both = users_sockets_new();
        GHashTableIter iter;
        gpointer pid, pending;

        g_hash_table_iter_init(&iter, a->pending);
        while (g_hash_table_iter_next(&iter, &pid, &pending))
                if (g_hash_table_contains(b->pending, pid))
                        users_sockets_add(both, pending);
        /* Each walk finds another one. */
        both->lost = a->lost != 0 ? b->lost : 0;
        return both;
}

/* All are asked, but once for all nodes of that group. */
static pid_t pid_of_group(UsersSockets *sockets, uint32_t gid) {
        GHashTableIter iter;
        const ScanPending *pending;
        gpointer known;
        pid_t pid = 0;

        if (g_hash_table_lookup_extended(sockets->gids, GUINT_TO_POINTER(gid), NULL, &known))
                return GPOINTER_TO_INT(known);
        g_hash_table_iter_init(&iter, sockets->pending);
        while (g_hash_table_iter_next(&iter, NULL, (gpointer *) &pending))
                if (process_groups_may_contain(&pending->groups, gid))
                        pid = lower(pid, pending->pid);
        g_hash_table_insert(sockets->gids, GUINT_TO_POINTER(gid), GINT_TO_POINTER(pid));
        return pid;
}

static const VfioNodeAccess *access_to(UsersSockets *sockets, const char *name) {
        VfioNodeAccess *access = g_hash_table_lookup(sockets->accesses, name);

        if (!access) {
                access = g_new(VfioNodeAccess, 1);
                *access = vfio_openings_access(name);
                g_hash_table_insert(sockets->accesses, g_strdup(name), access);
        }
        return access;
}

/* Root opens what is for a group, too. What is for root alone is in no socket of interest: many of
 * its services pass descriptors on. */
static pid_t pid_of_openers(UsersSockets *sockets, const char *name) {
        const VfioNodeAccess *access = access_to(sockets, name);
        pid_t pid = 0;

        if (access->everybody)
                return lower(sockets->of_root, sockets->of_others);
        if (access->uid != 0)
                pid = GPOINTER_TO_INT(
                        g_hash_table_lookup(sockets->uids, GUINT_TO_POINTER(access->uid)));
        if (access->group)
                pid = lower(pid, lower(sockets->of_root, pid_of_group(sockets, access->gid)));
        return pid;
}

/* What others had may be in root's sockets as well. A process that was lost may be anybody's; root
 * has no reason to hide. */
static pid_t pid_of_users(const UsersSockets *sockets, const VfioDevice *device) {
        pid_t any = lower(sockets->of_root, sockets->of_others);

        if (!vfio_had_waits_with(&device->had, UINT32_MAX))
                return sockets->of_root;
        return any != 0 ? any : sockets->lost;
}

/* One may have opened the node once more than was seen, and hide that. Somebody else's socket must
 * not keep what was closed, and anybody may have one in which a descriptor waits. */
static pid_t pid_of_seen(const UsersSockets *sockets, const VfioOpeners *openers) {
        pid_t pid = openers->more ? lower(sockets->of_root, sockets->of_others) : 0;

        for (unsigned i = 0; i < openers->n; i++)
                pid = lower(pid, GPOINTER_TO_INT(g_hash_table_lookup(
                                         sockets->uids, GUINT_TO_POINTER(openers->uids[i]))));
        return pid != 0 || (openers->n == 0 && !openers->more) ? pid : sockets->lost;
}

/* Writes the lowest pid of those whose sockets count to `ret_pid`, if it is lower. */
static VfioWaiting look_up(const Users *users, const VfioDevice *device, const char *name,
                           UsersSockets *sockets, pid_t *ret_pid) {
        const VfioNodeCount *count = vfio_openings_get(users->openings, name);
        pid_t anybody, had, seen, openers;

        if (!count || !sockets || (sockets->lost == 0 && g_hash_table_size(sockets->pending) == 0))
                return (VfioWaiting){ 0 };
        anybody = count->merged ? lower(sockets->of_root, sockets->of_others) : 0;
        had = count->doubtful ? pid_of_users(sockets, device) : 0;
        seen = count->hidden ? pid_of_seen(sockets, &count->openers) : 0;
        openers = count->assumed ? pid_of_openers(sockets, name) : 0;
        *ret_pid = lower(*ret_pid, lower(lower(anybody, seen), lower(had, openers)));
        return (VfioWaiting){
                .of_anybody = anybody != 0,
                .of_users = had != 0,
                .of_seen = seen != 0,
                .of_openers = openers != 0,
        };
}

VfioWaiting users_waiting(const Users *users, const VfioDevice *device, const char *name) {
        pid_t pid = 0;

        return look_up(users, device, name, users->sockets, &pid);
}

static bool node_is_evident(const Users *users, const VfioDevice *device, const char *name) {
        const VfioNodeCount *count = vfio_openings_get(users->openings, name);

        return count && vfio_node_count_is_evident(count, users_waiting(users, device, name));
}

bool users_opening_is_evident(const Users *users, const VfioDevice *device) {
        g_autofree char *group = g_strdup_printf("%d", device->vfio.group);

        return node_is_evident(users, device, group) ||
               (device->node_name && node_is_evident(users, device, device->node_name));
}

pid_t users_pid_of_socket(const Users *users, const VfioDevice *device, UsersSockets *sockets) {
        g_autofree char *group = g_strdup_printf("%d", device->vfio.group);
        pid_t pid = 0;

        (void) look_up(users, device, group, sockets, &pid);
        if (device->node_name)
                (void) look_up(users, device, device->node_name, sockets, &pid);
        return pid;
}

bool users_any_in_socket(const Users *users, UsersSockets *sockets) {
        GHashTableIter iter;
        const VfioDevice *device;

        g_hash_table_iter_init(&iter, users->functions);
        while (g_hash_table_iter_next(&iter, NULL, (gpointer *) &device))
                if (users_pid_of_socket(users, device, sockets) != 0)
                        return true;
        return false;
}
