#include "daemon/base/util.h"
#include "daemon/usage/users-state.h"
#include "daemon/usage/users.h"

/* All that happens in this time is answered by one conclusion. */
#define CONCLUSION_INTERVAL_USEC 3000
/* Users of one function that are listed one by one. */
#define USERS_MAX 64
/* How long the last process of a device is still told when the device is open without any. */
#define CLOSING_USEC (200 * 1000ULL)

static const User *users_update_find_user(const GPtrArray *list, uint32_t pid) {
        for (guint i = 0; list && i < list->len; i++)
                if (((const User *) list->pdata[i])->pid == pid)
                        return list->pdata[i];
        return NULL;
}

static User *make_user(const Users *users, const VfioDevice *device, const Holder *holder) {
        const User *before =
                users_update_find_user(device->users, holder ? (uint32_t) holder->pid : 0);
        uint64_t since = before ? before->since_usec : (uint64_t) g_get_real_time();
        User *user = g_new0(User, 1);

        /* Another process may have had the same pid before. */
        if (before && holder && holder->since_usec > since)
                since = holder->since_usec;
        user->since_usec = since;
        if (holder) {
                user->pid = (uint32_t) holder->pid;
                user->uid = holder->uid;
                user->n_others = holder->n_others;
        }
        if (!holder)
                user->socket_pid = (uint32_t) users_pid_of_socket(users, device, users->sockets);
        user->command = g_strdup(holder ? holder->command : "");
        user->unit = g_strdup(holder ? holder->unit : "");
        user->machine = g_strdup(holder ? holder->machine : "");
        return user;
}

static void users_update_add_user(const Users *users, GPtrArray *list, const VfioDevice *device,
                                  const Holder *holder) {
        if (list->len < USERS_MAX)
                g_ptr_array_add(list, make_user(users, device, holder));
        else
                ((User *) list->pdata[USERS_MAX - 1])->n_others +=
                        1 + (holder ? holder->n_others : 0);
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
                has[i] = &((const Holder *) holders->pdata[i])->has;
        return vfio_attribute(plain, functions->len, has, holders->len);
}

static VfioFinding finding_of(const GPtrArray *now) {
        if (!now)
                return VFIO_FOUND_NOBODY;
        return users_update_find_user(now, 0) ? VFIO_FOUND_SOMEWHERE : VFIO_FOUND_PROCESS;
}

/* Whether `now` can be reported. A walk may take long, and a process may get a descriptor that was
 * looked at already: only one that began after the doubt answers it. */
static bool can_tell(Users *users, VfioDevice *device, const GPtrArray *now, bool all_seen) {
        g_autofree char *group = g_strdup_printf("%d", device->vfio.group);
        uint64_t lost_usec = device->lost_usec, time_usec = now_usec();
        VfioUseSigns signs = {
                .finding = finding_of(now),
                .reported = device->users != NULL,
                .by_process = finding_of(device->users) == VFIO_FOUND_PROCESS,
                .was_lost = lost_usec != 0,
                .may_close = time_usec - lost_usec < CLOSING_USEC,
                /* The kernel gives it to another driver after the last close. */
                .searched = device->released ||
                            (all_seen && device->needs_walk != 0 && users_is_sure(users, device)),
                .failed = users->walk_failed,
                .evident = device->vfio.open || users_opening_is_evident(users, device),
                .group_closed = vfio_closings_has(users->closings, group),
        };
        VfioUseStep step = vfio_use_step(&signs);

        device->finding = signs.finding;
        if (signs.finding != VFIO_FOUND_SOMEWHERE)
                device->lost_usec = 0;
        else if (lost_usec == 0)
                device->lost_usec = time_usec;
        if (step == VFIO_USE_SEARCH && (device->needs_walk == 0 || device->lost_usec == time_usec))
                users_need_walk(users, device);
        /* That was the last copy, so nobody got one from the opener. */
        if (signs.finding == VFIO_FOUND_NOBODY && signs.group_closed)
                device->needs_walk = 0;
        /* The next search is for the timer to ask for. */
        if (step == VFIO_USE_KEEP && signs.searched)
                device->needs_walk = 0;
        return step == VFIO_USE_REPORT;
}

/* Notes its users now; returns whether that is new. */
static bool set_users(VfioDevice *device, GPtrArray *now) {
        if (!now)
                device->had = (VfioHad){ 0 };
        if (users_equal(device->users, now)) {
                g_clear_pointer(&now, g_ptr_array_unref);
                return false;
        }
        g_clear_pointer(&device->users, g_ptr_array_unref);
        device->users = now;
        return true;
}

/* Until all processes were looked at once. A function that VFIO got since the start had no user
 * before. */
static bool is_unknown(const Users *users, const VfioDevice *device) {
        return users->n_walks_ended == 0 && (device->bound || device->adopted) && device->is_old;
}

static GPtrArray *unknown_users(void) {
        GPtrArray *list = user_list_new();
        User user = {
                .command = (char *) "", .unit = (char *) "", .machine = (char *) "", .unknown = true
        };

        g_ptr_array_add(list, user_copy(&user));
        return list;
}

GPtrArray *users_of(const Users *users, PciKey key) {
        const VfioDevice *device = g_hash_table_lookup(users->functions, &key);
        GPtrArray *copy = NULL;

        if (device && device->users) {
                copy = user_list_new();
                for (guint i = 0; i < device->users->len; i++)
                        g_ptr_array_add(copy, user_copy(device->users->pdata[i]));
        } else if (device && is_unknown(users, device))
                copy = unknown_users();
        return copy;
}

static void look_at_device(gpointer device, gpointer unused) {
        vfio_device_look(device);
}

/* Returns whether that is new. */
static bool note_unknown(const Users *users, VfioDevice *device) {
        bool unknown = is_unknown(users, device);
        bool other = unknown != device->told_unknown;

        device->told_unknown = unknown;
        return other;
}

/* What is in doubt still, and its function is not told, stays counted. */
static void drop_device(Users *users, const VfioDevice *device) {
        if (device->finding == VFIO_FOUND_NOBODY)
                users_forget_openings(users, device);
        g_hash_table_remove(users->functions, &device->vfio.key);
}

static bool was_left(const Users *users, const VfioDevice *device) {
        return holders_left_in_walk(users->holders, device->vfio.key, device->vfio.group);
}

/* The kernel resets a device before it disables it, and that takes longer than the looks at who had
 * its group. The device's own node, if that is open, may be why the device is enabled. */
static void keep_closing(const Users *users, const VfioDevice *device) {
        g_autofree char *group = NULL;

        if (!device->users || device->finding != VFIO_FOUND_SOMEWHERE ||
            (device->node_name && vfio_openings_is_open(users->openings, device->node_name)))
                return;
        group = g_strdup_printf("%d", device->vfio.group);
        vfio_closings_keep(users->closings, group, users->n_rounds + 1);
}

/* The users now; those whose users are others are noted in `news`. Returns whether what must be
 * recorded is new. */
static bool match(Users *users, bool all_seen, GArray *news) {
        g_autoptr(GPtrArray) functions = sorted_functions(users);
        g_autoptr(GPtrArray) holders = holders_sorted(users->holders);
        g_autoptr(GHashTable) groups = NULL;
        g_autoptr(GArray) uses = NULL;
        bool record_changed = false;
        guint next = 0;

        g_ptr_array_foreach(functions, look_at_device, NULL);
        vfio_openings_update(users->openings);
        groups = users_explained_groups(functions, holders);
        uses = attribute(functions, holders);
        for (guint i = 0; i < functions->len; i++) {
                VfioDevice *device = functions->pdata[i];
                GPtrArray *now = NULL;

                for (; next < uses->len && g_array_index(uses, VfioUse, next).function == i;
                     next++) {
                        guint j = g_array_index(uses, VfioUse, next).holder;
                        const Holder *holder = j == VFIO_NO_HOLDER ? NULL : holders->pdata[j];

                        if (!now)
                                now = user_list_new();
                        users_update_add_user(users, now, device, holder);
                        if (holder)
                                vfio_had_note(&device->had, holder->uid);
                }
                if (all_seen && users_is_sure(users, device))
                        users_correct_openings(users, device, now || was_left(users, device),
                                               groups);
                if (!now && users_node_is_open(users, device, groups)) {
                        now = user_list_new();
                        users_update_add_user(users, now, device, NULL);
                }
                if (!can_tell(users, device, now, all_seen))
                        g_clear_pointer(&now, g_ptr_array_unref);
                else {
                        if (set_users(device, now))
                                g_array_append_val(news, device->vfio.key);
                        if (device->needs_walk <= users->n_walks_ended)
                                device->needs_walk = 0;
                }
                keep_closing(users, device);
                if (note_unknown(users, device))
                        g_array_append_val(news, device->vfio.key);
                record_changed |= users_note_record(users, device);
                if (!device->bound && !device->users && !is_unknown(users, device))
                        drop_device(users, device);
        }
        return record_changed;
}

void users_update_now(Users *users) {
        g_autoptr(GArray) news = g_array_new(FALSE, FALSE, sizeof(PciKey));
        bool all_seen = users->all_seen;

        users->all_seen = false;
        if (match(users, all_seen, news))
                users->handler->record_changed(users->context);
        if (vfio_closings_any(users->closings))
                vfio_closings_looked(users->closings, users->n_rounds_ended,
                                     scanner_oldest_ticket(users->scanner));
        users->last_conclusion_usec = now_usec();
        for (guint i = 0; i < news->len; i++)
                users->handler->changed(users->context, g_array_index(news, PciKey, i));
        users->handler->looked(users->context, all_seen ? users->n_walks_ended : 0);
        if (users->everybody)
                users_schedule(users);
        users_set_timer(users);
}

/* An update that is due at once stays so. */
void users_update_soon(Users *users, bool at_once) {
        uint64_t due = users->last_conclusion_usec + CONCLUSION_INTERVAL_USEC, before;
        int enabled = SD_EVENT_OFF;

        if (at_once)
                due = 0;
        else if (g_hash_table_size(users->unnamed) > 0)
                due = MAX(due, users->naming_until_usec);
        (void) sd_event_source_get_enabled(users->conclusion, &enabled);
        if (enabled != SD_EVENT_OFF && sd_event_source_get_time(users->conclusion, &before) >= 0 &&
            before == 0)
                return;
        (void) sd_event_source_set_time(users->conclusion, due);
        (void) sd_event_source_set_enabled(users->conclusion, SD_EVENT_ONESHOT);
}
