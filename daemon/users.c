#include "daemon/users-internal.h"

#include "daemon/log.h"
#include "daemon/wakeup.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <systemd/sd-login.h>
#include <time.h>

/* All that happens in this time is answered by one look. */
#define LOOK_INTERVAL_USEC 3000
/* An open is told before the opener has its descriptor (do_sys_openat2()), and the device follows by ioctl: it is
 * looked at more than once. */
#define OPENER_LOOKS         3
#define OPENER_INTERVAL_USEC 15000
/* A walk through /proc lets others have their turn after so many processes. */
#define WALK_STEP_PROCESSES 32
#define ALERT_PERIOD_USEC   (40 * 1000ULL)
#define CALM_PERIOD_USEC    (1000 * 1000ULL)
/* Of what a tick costs, which grows with the functions and holders there are, so much passes before the next:
 * a host with thousands of VFs is looked at less often, and has its answers as soon as any other. */
#define TICK_COST_FACTOR 50
/* How long one waits for the opening after a sign that it is near. */
#define ALERT_USEC (30 * 1000 * 1000ULL)

static void free_device(gpointer device) {
        vfio_device_free(device);
}

static void schedule_at(Users *users, uint64_t usec) {
        (void) sd_event_source_set_time(users->work, usec);
        (void) sd_event_source_set_enabled(users->work, SD_EVENT_ONESHOT);
}

static void schedule(Users *users) {
        if (!users->walking)
                schedule_at(users, users->last_look_usec + LOOK_INTERVAL_USEC);
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
        bool alert = users_now_usec() < users->alert_until_usec;
        uint64_t period = CALM_PERIOD_USEC;
        GHashTableIter iter;
        VfioDevice *device;

        g_hash_table_iter_init(&iter, users->functions);
        while (!alert && g_hash_table_iter_next(&iter, NULL, (gpointer *) &device))
                alert = device->lost_usec != 0 || (device->users && group_is_shared(users, device));
        if (alert)
                period = CLAMP(users->tick_cost_usec * TICK_COST_FACTOR, ALERT_PERIOD_USEC,
                               CALM_PERIOD_USEC);
        (void) sd_event_source_set_time_relative(users->timer, period);
        (void) sd_event_source_set_enabled(users->timer, g_hash_table_size(users->functions) > 0
                                                                 ? SD_EVENT_ONESHOT
                                                                 : SD_EVENT_OFF);
}

static void finish_look(Users *users, bool all_seen) {
        users_conclude(users, all_seen);
        if (users->everybody && !all_seen)
                schedule_at(users, 0);
        else if (users->everybody || users->check || users->check_all)
                schedule(users);
        else if (g_hash_table_size(users->openers) > 0)
                schedule_at(users, users->last_look_usec + OPENER_INTERVAL_USEC);
        set_timer(users);
}

static gboolean is_pid(gpointer name, gpointer value, gpointer pid) {
        return value == pid;
}

static void look_at_openers(Users *users) {
        GHashTableIter iter;
        gpointer pid, left;

        g_hash_table_iter_init(&iter, users->openers);
        while (g_hash_table_iter_next(&iter, &pid, &left)) {
                bool has = holders_look_at(users->holders, GPOINTER_TO_INT(pid));
                bool last = GPOINTER_TO_UINT(left) <= 1;

                /* Neither has it nor closed it: somebody else has it from them. */
                if ((has || last) && g_hash_table_foreach_remove(users->opened, is_pid, pid) > 0 &&
                    !has)
                        users->everybody = true;
                if (last)
                        g_hash_table_iter_remove(&iter);
                else
                        g_hash_table_iter_replace(&iter,
                                                  GUINT_TO_POINTER(GPOINTER_TO_UINT(left) - 1));
        }
}

static void start_walk(Users *users) {
        users->everybody = users->check = users->check_all = false;
        users->walking = true;
        holders_start_walk(users->holders);
}

static int on_work(sd_event_source *source, uint64_t usec, void *userdata) {
        Users *users = userdata;

        if (!users->walking && users->everybody)
                start_walk(users);
        if (users->walking) {
                if (!holders_step_walk(users->holders, WALK_STEP_PROCESSES)) {
                        schedule_at(users, 0);
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

/* Not of the clock: what others do to the machine is no reason to look less often. */
static uint64_t cpu_usec(void) {
        struct timespec t;

        (void) clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
        return (uint64_t) t.tv_sec * 1000000 + (uint64_t) t.tv_nsec / 1000;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        Users *users = userdata;
        uint64_t start = cpu_usec();
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
                schedule(users);
        }
        users->tick_cost_usec = cpu_usec() - start;
        set_timer(users);
        return 0;
}

static void on_opened(void *context, pid_t pid, const char *name) {
        Users *users = context;

        /* Without CAP_SYS_ADMIN the kernel keeps it for itself. */
        if (pid <= 0)
                users->everybody = true;
        else {
                g_hash_table_replace(users->openers, GINT_TO_POINTER(pid),
                                     GUINT_TO_POINTER(OPENER_LOOKS));
                g_hash_table_replace(users->opened, g_strdup(name), GINT_TO_POINTER(pid));
        }
        schedule(users);
}

static void on_closed(void *context, const char *name) {
        Users *users = context;

        (void) g_hash_table_remove(users->opened, name);
        if (g_str_has_prefix(name, "noiommu-"))
                name += strlen("noiommu-");
        g_hash_table_add(users->closed, g_strdup(name));
        users->handler->closed(users->context, name);
        users->check = true;
        schedule(users);
}

static void on_overrun(void *context) {
        Users *users = context;

        users->handler->missed(users->context);
        users_look(users);
}

static void on_ended(void *context) {
        Users *users = context;

        users->check = true;
        schedule(users);
}

static void be_alert(Users *users) {
        users->alert_until_usec = users_now_usec() + ALERT_USEC;
        set_timer(users);
}

static int on_machines(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        Users *users = userdata;

        (void) sd_login_monitor_flush(users->machines);
        be_alert(users);
        return 0;
}

bool users_device_is_open(const Users *users, PciKey key) {
        VfioDevice *device = g_hash_table_lookup(users->functions, &key);

        return device && vfio_device_is_open(device);
}

void users_look(Users *users) {
        users->everybody = true;
        schedule(users);
}

void users_look_now(Users *users) {
        start_walk(users);
        while (!holders_step_walk(users->holders, UINT_MAX))
                ;
        users->walking = false;
        finish_look(users, true);
}

void users_drain(Users *users) {
        vfio_watch_drain(users->watch);
}

void users_refresh(Users *users) {
        vfio_watch_drain(users->watch);
        look_at_openers(users);
        holders_check(users->holders, true);
        users_conclude(users, false);
        /* A walk under way was begun for something that is told only at its end. */
        if (users->everybody || users->walking)
                users_look_now(users);
}

int users_function_changed(Users *users, const Function *function) {
        VfioDevice *device = g_hash_table_lookup(users->functions, &function->facts.key);
        dev_t node = 0;
        int bound = vfio_device_read_bound(function, &node), r = MIN(bound, 0);

        if (!device && !bound)
                return 0;
        /* What cannot be looked at is bound as it was, and before the first look VFIO may well have it. */
        if (r < 0 && device)
                return r;
        if (!device) {
                device = vfio_device_new(function->facts.key);
                g_hash_table_insert(users->functions, &device->vfio.key, device);
        }
        if (bound && !device->bound)
                be_alert(users);
        device->bound = bound != 0;
        /* What is being unbound keeps its node and group for who still has it open; another driver gets it only
         * after the last of them has let go. */
        if (bound) {
                device->let_go = false;
                device->node = node;
                device->vfio.group = function->facts.iommu_group;
        } else if (function->facts.driver[0] != '\0')
                vfio_device_let_go(device);
        schedule(users);
        return r < 0 ? r : vfio_device_check(device);
}

void users_function_gone(Users *users, PciKey key) {
        (void) g_hash_table_remove(users->functions, &key);
}

static const VfioWatchHandler watch_handler = { on_opened, on_closed, on_overrun };
static const HoldersHandler holders_handler = { on_ended, known_node };

int users_new(sd_event *event, const Inventory *inventory, const UsersHandler *handler,
              void *context, Users **ret) {
        g_autoptr(Users) users = g_new0(Users, 1);
        int r;

        users->event = sd_event_ref(event);
        users->inventory = inventory;
        users->handler = handler;
        users->context = context;
        users->functions = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, free_device);
        users->openers = g_hash_table_new(NULL, NULL);
        users->opened = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        users->closed = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);

        r = vfio_watch_new(event, &watch_handler, users, &users->watch);
        if (r < 0)
                return r;
        users->holders = holders_new(event, users->watch, &holders_handler, users);
        r = wakeup_new_timer(event, 1, on_work, users, &users->work);
        if (r >= 0)
                r = wakeup_new_timer(event, 1, on_timer, users, &users->timer);
        if (r < 0)
                return r;

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
        g_hash_table_unref(users->opened);
        g_hash_table_unref(users->closed);
        sd_event_unref(users->event);
        g_free(users);
        return NULL;
}
