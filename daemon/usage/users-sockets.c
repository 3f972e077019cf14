/* Descriptors that wait in sockets, and of which functions they may be. */
#include "daemon/usage/users-state.h"

static VfioWaiting waiting_with(const VfioDevice *device, const VfioNodeCount *count,
                                VfioNodeAccess access, uint32_t uid) {
        bool may_open = access.everybody || (uid != 0 && uid == access.uid);

        return (VfioWaiting){
                .of_anybody = count->merged,
                .of_users = count->doubtful && vfio_had_waits_with(&device->had, uid),
                .of_openers = count->assumed && may_open,
        };
}

/* Writes the lowest pid of those whose sockets count to `ret_pid`, if there is one. */
static VfioWaiting look_up(const Users *users, const VfioDevice *device, const char *name,
                           GHashTable *sockets, pid_t *ret_pid) {
        const VfioNodeCount *count = vfio_openings_get(users->openings, name);
        VfioWaiting all = { 0 };
        VfioNodeAccess access;
        GHashTableIter iter;
        gpointer uid, pid;

        if (!count || !vfio_node_count_is_doubtful(count) || g_hash_table_size(sockets) == 0)
                return all;
        access = vfio_openings_access(name);
        g_hash_table_iter_init(&iter, sockets);
        while (g_hash_table_iter_next(&iter, &uid, &pid)) {
                VfioWaiting one = waiting_with(device, count, access, GPOINTER_TO_UINT(uid));

                all.of_anybody |= one.of_anybody;
                all.of_users |= one.of_users;
                all.of_openers |= one.of_openers;
                if ((one.of_anybody || one.of_users || one.of_openers) &&
                    (*ret_pid == 0 || GPOINTER_TO_INT(pid) < *ret_pid))
                        *ret_pid = GPOINTER_TO_INT(pid);
        }
        return all;
}

VfioWaiting users_waiting(const Users *users, const VfioDevice *device, const char *name) {
        pid_t pid = 0;

        return look_up(users, device, name, users->sockets, &pid);
}

pid_t users_pid_of_socket(const Users *users, const VfioDevice *device, GHashTable *sockets) {
        g_autofree char *group = g_strdup_printf("%d", device->vfio.group);
        pid_t pid = 0;

        (void) look_up(users, device, group, sockets, &pid);
        if (device->node_name)
                (void) look_up(users, device, device->node_name, sockets, &pid);
        return pid;
}

bool users_any_in_socket(const Users *users) {
        GHashTableIter iter;
        const VfioDevice *device;

        g_hash_table_iter_init(&iter, users->functions);
        while (g_hash_table_iter_next(&iter, NULL, (gpointer *) &device))
                if (users_pid_of_socket(users, device, users->next_sockets) != 0)
                        return true;
        return false;
}
