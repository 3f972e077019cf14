#include "daemon/users.h"

#include "daemon/holders.h"
#include "daemon/log.h"
#include "daemon/vfio-device.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <systemd/sd-login.h>

/* All that happens in this time is answered by one look. */
#define LOOK_INTERVAL_USEC 3000
/* A walk through /proc lets others have their turn after so many processes. */
#define WALK_STEP_PROCESSES 32
#define ALERT_PERIOD_USEC   (40 * 1000ULL)
#define CALM_PERIOD_USEC    (1000 * 1000ULL)
/* How long the last process of a device is still told when the device is open without any. */
#define CLOSING_USEC (200 * 1000ULL)
/* How long one waits for the opening after a sign that it is near. */
#define ALERT_USEC (30 * 1000 * 1000ULL)

struct Users {
        sd_event *event;
        const Inventory *inventory;
        UsersChanged *changed;
        void *context;
        VfioWatch *watch;
        Holders *holders;
        GHashTable *functions; /* key in VfioDevice -> VfioDevice */
        GHashTable *openers;   /* pids that opened a node since the last look */
        GHashTable *closed;    /* names of nodes that were closed since */
        sd_login_monitor *machines;
        sd_event_source *work, *timer, *machines_source;
        uint64_t last_look_usec, alert_until_usec; /* CLOCK_MONOTONIC */
        unsigned n_lost_ticks;                     /* for how many an open device had no process */
        bool check;     /* holders that let go of something are to be looked at ... */
        bool check_all; /* ... or all holders ... */
        bool everybody; /* ... or all processes */
        bool walking;
};

static void free_device(gpointer device) {
        vfio_device_free(device);
}

static void free_user(gpointer user) {
        user_free(user);
}

static uint64_t now_usec(void) {
        return (uint64_t) g_get_monotonic_time();
}

static void schedule(Users *users, bool at_once) {
        uint64_t when = at_once ? 0 : users->last_look_usec + LOOK_INTERVAL_USEC;

        if (users->walking && !at_once)
                return; /* it is */
        (void) sd_event_source_set_time(users->work, when);
        (void) sd_event_source_set_enabled(users->work, SD_EVENT_ONESHOT);
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

/* --- from holders to users */

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
                        device->lost_usec = now_usec();
                        users->everybody |= !all_seen;
                }
                return all_seen &&
                       (!device->users || now_usec() - device->lost_usec >= CLOSING_USEC);
        }
        device->lost_usec = 0;
        if (now || !device->users || all_seen || g_hash_table_contains(users->closed, group))
                return true;
        users->everybody = true;
        return false;
}

static void tell(Users *users, VfioDevice *device, GPtrArray *now) {
        if (users_equal(device->users, now)) {
                g_clear_pointer(&now, g_ptr_array_unref);
                return;
        }
        g_clear_pointer(&device->users, g_ptr_array_unref);
        device->users = now;

        g_autoptr(GPtrArray) copy = NULL;
        if (now) {
                copy = g_ptr_array_new_with_free_func(free_user);
                for (guint i = 0; i < now->len; i++)
                        g_ptr_array_add(copy, user_copy(now->pdata[i]));
        }
        users->changed(users->context, device->vfio.key, g_steal_pointer(&copy));
}

static void look_at_device(gpointer device, gpointer unused) {
        vfio_device_look(device);
}

/* Derives who uses what and tells what is new; `all_seen`: from a look at all processes. */
static void conclude(Users *users, bool all_seen) {
        g_autoptr(GPtrArray) functions = sorted_functions(users);
        g_autoptr(GPtrArray) holders = holders_sorted(users->holders);
        g_autoptr(GArray) uses = NULL;
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
                if (can_tell(users, device, now, all_seen))
                        tell(users, device, now);
                else
                        g_clear_pointer(&now, g_ptr_array_unref);
                if (!device->bound && !device->users)
                        g_hash_table_remove(users->functions, &device->vfio.key);
        }
        g_hash_table_remove_all(users->closed);
        users->last_look_usec = now_usec();
}

/* --- when to look */

static bool group_is_shared(const Users *users, const VfioDevice *device) {
        const GPtrArray *members = inventory_group(users->inventory, device->vfio.group);
        unsigned n = 0;

        for (guint i = 0; members && i < members->len; i++)
                n += g_hash_table_contains(users->functions,
                                           &((const Function *) members->pdata[i])->facts.key);
        return n > 1;
}

static void set_timer(Users *users) {
        bool alert = now_usec() < users->alert_until_usec;
        GHashTableIter iter;
        VfioDevice *device;

        g_hash_table_iter_init(&iter, users->functions);
        while (!alert && g_hash_table_iter_next(&iter, NULL, (gpointer *) &device))
                alert = device->lost_usec != 0 || (device->users && group_is_shared(users, device));
        (void) sd_event_source_set_time_relative(users->timer,
                                                 alert ? ALERT_PERIOD_USEC : CALM_PERIOD_USEC);
        (void) sd_event_source_set_enabled(users->timer, g_hash_table_size(users->functions) > 0
                                                                 ? SD_EVENT_ONESHOT
                                                                 : SD_EVENT_OFF);
}

static void finish_look(Users *users, bool all_seen) {
        conclude(users, all_seen);
        if (users->everybody || users->check || g_hash_table_size(users->openers) > 0)
                schedule(users, users->everybody && !all_seen);
        set_timer(users);
}

static void look_at_openers(Users *users) {
        GHashTableIter iter;
        gpointer pid;

        g_hash_table_iter_init(&iter, users->openers);
        while (g_hash_table_iter_next(&iter, &pid, NULL)) {
                holders_look_at(users->holders, GPOINTER_TO_INT(pid));
                g_hash_table_iter_remove(&iter);
        }
}

static void start_walk(Users *users) {
        users->everybody = users->check = users->check_all = false;
        users->walking = true;
        g_hash_table_remove_all(users->openers);
        holders_start_walk(users->holders);
}

static int on_work(sd_event_source *source, uint64_t usec, void *userdata) {
        Users *users = userdata;

        if (!users->walking && users->everybody)
                start_walk(users);
        if (users->walking) {
                if (!holders_step_walk(users->holders, WALK_STEP_PROCESSES)) {
                        schedule(users, true);
                        return 0;
                }
                users->walking = false;
                finish_look(users, true);
                return 0;
        }
        look_at_openers(users);
        if (users->check || users->check_all)
                holders_check(users->holders, users->check_all);
        users->check = users->check_all = false;
        finish_look(users, false);
        return 0;
}

/* Looks at all processes after 1, 2, 4, 8, ... ticks: a descriptor under way arrives somewhere. */
static bool should_search(Users *users) {
        GHashTableIter iter;
        VfioDevice *device;

        g_hash_table_iter_init(&iter, users->functions);
        while (g_hash_table_iter_next(&iter, NULL, (gpointer *) &device))
                if (device->lost_usec != 0) {
                        users->n_lost_ticks++;
                        return (users->n_lost_ticks & (users->n_lost_ticks - 1)) == 0;
                }
        users->n_lost_ticks = 0;
        return false;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        Users *users = userdata;
        GHashTableIter iter;
        VfioDevice *device;
        bool look = false;

        g_hash_table_iter_init(&iter, users->functions);
        while (!look && g_hash_table_iter_next(&iter, NULL, (gpointer *) &device))
                look = vfio_device_has_changed(device);
        users->check_all |= look; /* who has the group opened or closed it */
        if (should_search(users))
                users->everybody = look = true;
        if (look || holders_need_check(users->holders)) {
                users->check = true;
                schedule(users, false);
        }
        set_timer(users);
        return 0;
}

static void on_opened(void *context, pid_t pid) {
        Users *users = context;

        g_hash_table_add(users->openers, GINT_TO_POINTER(pid));
        schedule(users, false);
}

static void on_closed(void *context, const char *name) {
        Users *users = context;

        g_hash_table_add(
                users->closed,
                g_strdup(g_str_has_prefix(name, "noiommu-") ? name + strlen("noiommu-") : name));
        users->check = true;
        schedule(users, false);
}

static void on_overrun(void *context) {
        users_look(context);
}

static void on_ended(void *context) {
        Users *users = context;

        users->check = true;
        schedule(users, false);
}

static void be_alert(Users *users) {
        users->alert_until_usec = now_usec() + ALERT_USEC;
        set_timer(users);
}

static int on_machines(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        Users *users = userdata;

        (void) sd_login_monitor_flush(users->machines);
        be_alert(users);
        return 0;
}

void users_look(Users *users) {
        users->everybody = true;
        schedule(users, false);
}

void users_look_now(Users *users) {
        start_walk(users);
        while (!holders_step_walk(users->holders, UINT_MAX))
                ;
        users->walking = false;
        finish_look(users, true);
}

void users_function_changed(Users *users, const Function *function) {
        VfioDevice *device = g_hash_table_lookup(users->functions, &function->facts.key);
        dev_t node = 0;
        bool bound = vfio_device_read_bound(function, &node);

        if (!device && !bound)
                return;
        if (!device) {
                device = vfio_device_new(function->facts.key);
                g_hash_table_insert(users->functions, &device->vfio.key, device);
        }
        if (bound && !device->bound)
                be_alert(users);
        device->bound = bound;
        /* What is being unbound keeps its node and group for who still has it open. */
        if (bound) {
                device->node = node;
                device->vfio.group = function->facts.iommu_group;
        }
        schedule(users, false);
}

void users_function_gone(Users *users, PciKey key) {
        (void) g_hash_table_remove(users->functions, &key);
}

static const VfioWatchHandler watch_handler = { on_opened, on_closed, on_overrun };
static const HoldersHandler holders_handler = { on_ended, known_node };

int users_new(sd_event *event, const Inventory *inventory, UsersChanged *changed, void *context,
              Users **ret) {
        g_autoptr(Users) users = g_new0(Users, 1);
        int r;

        users->event = sd_event_ref(event);
        users->inventory = inventory;
        users->changed = changed;
        users->context = context;
        users->functions = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, free_device);
        users->openers = g_hash_table_new(NULL, NULL);
        users->closed = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);

        r = vfio_watch_new(event, &watch_handler, users, &users->watch);
        if (r < 0)
                return r;
        users->holders = holders_new(event, users->watch, &holders_handler, users);
        r = sd_event_add_time(event, &users->work, CLOCK_MONOTONIC, 0, 1, on_work, users);
        if (r >= 0)
                r = sd_event_add_time(event, &users->timer, CLOCK_MONOTONIC, 0, 1, on_timer, users);
        if (r < 0)
                return r;
        (void) sd_event_source_set_enabled(users->work, SD_EVENT_OFF);
        (void) sd_event_source_set_enabled(users->timer, SD_EVENT_OFF);

        if (sd_login_monitor_new("machine", &users->machines) >= 0)
                r = sd_event_add_io(event, &users->machines_source,
                                    sd_login_monitor_get_fd(users->machines), EPOLLIN, on_machines,
                                    users);
        if (r < 0)
                return r;
        *ret = g_steal_pointer(&users);
        return 0;
}

Users *users_free(Users *users) {
        if (!users)
                return NULL;
        sd_event_source_disable_unref(users->machines_source);
        sd_login_monitor_unref(users->machines);
        sd_event_source_disable_unref(users->timer);
        sd_event_source_disable_unref(users->work);
        holders_free(users->holders);
        vfio_watch_free(users->watch);
        g_hash_table_unref(users->functions);
        g_hash_table_unref(users->openers);
        g_hash_table_unref(users->closed);
        sd_event_unref(users->event);
        g_free(users);
        return NULL;
}
