#include "daemon/users-internal.h"

/* How long the last process of a device is still told when the device is open without any. */
#define CLOSING_USEC (200 * 1000ULL)

static void free_user(gpointer user) {
        user_free(user);
}

static const User *find_user(const GPtrArray *list, uint32_t pid) {
        for (guint i = 0; list && i < list->len; i++)
                if (((const User *) list->pdata[i])->pid == pid)
                        return list->pdata[i];
        return NULL;
}

static User *make_user(const VfioDevice *device, const Holder *holder) {
        const User *before = find_user(device->users, holder ? (uint32_t) holder->process->pid : 0);
        uint64_t since = before ? before->since_usec : (uint64_t) g_get_real_time();
        User *user = g_new(User, 1);

        /* Another process may have had the same pid before. */
        if (before && holder && holder->since_usec > since)
                since = holder->since_usec;
        *user = (User){
                .pid = holder ? (uint32_t) holder->process->pid : 0,
                .uid = holder ? holder->process->uid : 0,
                .command = g_strdup(holder ? holder->process->command : ""),
                .unit = g_strdup(holder ? holder->process->unit : ""),
                .machine = g_strdup(holder ? holder->process->machine : ""),
                .since_usec = since,
        };
        return user;
}

static GPtrArray *sorted_functions(const Users *users) {
        GPtrArray *all = g_ptr_array_new();
        GHashTableIter iter;
        gpointer device;

        g_hash_table_iter_init(&iter, users->functions);
        while (g_hash_table_iter_next(&iter, NULL, &device))
                g_ptr_array_add(all, device);
        g_ptr_array_sort(all, vfio_device_compare);
        return all;
}

static GArray *attribute(const GPtrArray *functions, const GPtrArray *holders) {
        g_autofree VfioFunction *plain = g_new(VfioFunction, functions->len + 1);
        g_autofree const VfioHolder **has = g_new(const VfioHolder *, holders->len + 1);

        for (guint i = 0; i < functions->len; i++)
                plain[i] = ((const VfioDevice *) functions->pdata[i])->vfio;
        for (guint i = 0; i < holders->len; i++)
                has[i] = &((const Holder *) holders->pdata[i])->fds.has;
        return vfio_attribute(plain, functions->len, has, holders->len);
}

/* Whether `now` can be told. An open device without a process may be on its way from one process to another,
 * or be in the course of closing, which takes the kernel a while (it resets the device); and what was held and not
 * closed is held by somebody else. */
static bool can_tell(Users *users, VfioDevice *device, const GPtrArray *now, bool all_seen) {
        g_autofree char *group = g_strdup_printf("%d", device->vfio.group);

        if (now && find_user(now, 0)) {
                if (device->lost_usec == 0) {
                        device->lost_usec = users_now_usec();
                        users->everybody |= !all_seen;
                }
                return all_seen &&
                       (!device->users || users_now_usec() - device->lost_usec >= CLOSING_USEC);
        }
        device->lost_usec = 0;
        if (now || !device->users || all_seen || g_hash_table_contains(users->closed, group))
                return true;
        users->everybody = true;
        return false;
}

/* Notes who has it open now; returns whether that is new. */
static bool set_users(VfioDevice *device, GPtrArray *now) {
        if (users_equal(device->users, now)) {
                g_clear_pointer(&now, g_ptr_array_unref);
                return false;
        }
        g_clear_pointer(&device->users, g_ptr_array_unref);
        device->users = now;
        return true;
}

GPtrArray *users_of(const Users *users, PciKey key) {
        const VfioDevice *device = g_hash_table_lookup(users->functions, &key);
        GPtrArray *copy = NULL;

        if (device && device->users) {
                copy = g_ptr_array_new_with_free_func(free_user);
                for (guint i = 0; i < device->users->len; i++)
                        g_ptr_array_add(copy, user_copy(device->users->pdata[i]));
        }
        return copy;
}

static void look_at_device(gpointer device, gpointer unused) {
        vfio_device_look(device);
}

void users_conclude(Users *users, bool all_seen) {
        g_autoptr(GPtrArray) functions = sorted_functions(users);
        g_autoptr(GPtrArray) holders = holders_sorted(users->holders);
        g_autoptr(GArray) uses = NULL;
        g_autoptr(GArray) news = g_array_new(FALSE, FALSE, sizeof(PciKey));
        guint next = 0;

        g_ptr_array_foreach(functions, look_at_device, NULL);
        uses = attribute(functions, holders);

        for (guint i = 0; i < functions->len; i++) {
                VfioDevice *device = functions->pdata[i];
                GPtrArray *now = NULL;

                for (; next < uses->len && g_array_index(uses, VfioUse, next).function == i;
                     next++) {
                        guint j = g_array_index(uses, VfioUse, next).holder;

                        if (!now)
                                now = g_ptr_array_new_with_free_func(free_user);
                        g_ptr_array_add(
                                now,
                                make_user(device, j == VFIO_NO_HOLDER ? NULL : holders->pdata[j]));
                }
                if (!can_tell(users, device, now, all_seen))
                        g_clear_pointer(&now, g_ptr_array_unref);
                else if (set_users(device, now))
                        g_array_append_val(news, device->vfio.key);
                if (!device->bound && !device->users)
                        g_hash_table_remove(users->functions, &device->vfio.key);
        }
        g_hash_table_remove_all(users->closed);
        users->last_look_usec = users_now_usec();
        for (guint i = 0; i < news->len; i++)
                users->handler->changed(users->context, g_array_index(news, PciKey, i));
        users->handler->looked(users->context, all_seen && !users->everybody);
}
