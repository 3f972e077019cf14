#include "daemon/usage/users.h"

#include "daemon/base/log.h"
#include "daemon/base/process.h"
#include "daemon/base/util.h"
#include "daemon/base/wakeup.h"
#include "daemon/usage/users-state.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>

/* After an open its process is looked at more than once: see users-look.c. */
#define OPENER_LOOKS 3
/* Of one process that opens in a loop; of all that are not done, so many. */
#define OPENER_MIN_USEC 3000
#define OPENERS_MAX     1024
/* How long one waits for the opening after a sign that it is near. */
#define ALERT_USEC (30 * 1000 * 1000ULL)

/* Ticks of the timer from one search for a descriptor that is in no process to the next, at most.
 */
#define LOST_TICKS_MAX 256

static void free_device(gpointer device) {
        vfio_device_free(device);
}

static void free_opener(gpointer data) {
        Opener *opener = data;

        g_hash_table_unref(opener->names);
        g_free(opener);
}

bool users_are_known(Users *users, PciKey key) {
        const VfioDevice *device = g_hash_table_lookup(users->functions, &key);

        return !device || users_is_sure(users, device);
}

/* --- when to look */

/* All that was seen in a moment is reported together. */
static void conclude(Users *users) {
        users_update_now(users);
        users_refresh_updated(users);
}

static int on_conclusion(sd_event_source *source, uint64_t usec, void *userdata) {
        conclude(userdata);
        return 0;
}

static int on_users_work(sd_event_source *source, uint64_t usec, void *userdata) {
        Users *users = userdata;

        users_search_for_strays(users);
        users_look_at_openers(users);
        users_look_at_holders(users);
        if (users->everybody && !users->walking && users->walk_not_before_usec <= now_usec()) {
                /* Who was found and has ended since is remembered until the next walk. */
                if (users->all_seen)
                        conclude(users);
                users_walk(users);
        }
        users_schedule(users);
        return 0;
}

/* Looks at all processes after 1, 2, 4, 8, ... ticks, and in the end every so often: a descriptor
 * in a socket arrives somewhere, or nothing is in any socket any more. */
static bool should_search(Users *users) {
        GHashTableIter iter;
        VfioDevice *device;

        g_hash_table_iter_init(&iter, users->functions);
        while (g_hash_table_iter_next(&iter, NULL, (gpointer *) &device))
                if (device->lost_usec != 0) {
                        users->n_lost_ticks++;
                        if ((users->n_lost_ticks & (users->n_lost_ticks - 1)) != 0 &&
                            users->n_lost_ticks % LOST_TICKS_MAX != 0)
                                return false;
                        if (device->needs_walk == 0)
                                users_need_walk(users, device);
                        return true;
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

static int on_users_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        Users *users = userdata;
        uint64_t start = cpu_usec();
        GHashTableIter iter;
        VfioDevice *device;
        bool look = false;

        g_hash_table_iter_init(&iter, users->functions);
        while (!look && g_hash_table_iter_next(&iter, NULL, (gpointer *) &device))
                look = vfio_device_has_changed(device);
        users->check_all |= look; /* who has the group opened or closed it */
        /* No event reports what a crowd releases. */
        if (should_search(users) || holders_have_crowd(users->holders))
                users->everybody = true;
        users->check = true;
        users_schedule(users);
        users->tick_cost_usec = cpu_usec() - start;
        users_set_timer(users);
        return 0;
}

static Opened *opened_new(pid_t pid) {
        Opened *opened = g_new(Opened, 1);

        *opened = (Opened){ .pid = pid, .left = OPENER_LOOKS };
        return opened;
}

/* `was_open`: it was before. A process that opens a node again and again must not put the last look
 * off, by which what it passed on is found. */
static void note_opener(Users *users, pid_t pid, const char *name, bool was_open) {
        Opener *opener = g_hash_table_lookup(users->openers, GINT_TO_POINTER(pid));
        const Opened *opened = g_hash_table_lookup(users->opened, name);
        bool is_new = !opener || !was_open || !opened || opened->pid != pid;
        uint64_t now = now_usec();

        if (!opener) {
                opener = g_new0(Opener, 1);
                g_hash_table_insert(users->openers, GINT_TO_POINTER(pid), opener);
                opener->names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
                opener->due_usec = now;
        } else
                opener->due_usec = MIN(MAX(opener->due_usec, now), now + OPENER_MIN_USEC);
        if (is_new)
                opener->left = OPENER_LOOKS;
        if (!was_open)
                g_hash_table_replace(users->opened, g_strdup(name), opened_new(pid));
        g_hash_table_add(opener->names, g_strdup(name));
        if (opener->ticket == 0)
                users_note_due(users, opener);
}

static const char *plain_name(const char *name) {
        return g_str_has_prefix(name, "noiommu-") ? name + strlen("noiommu-") : name;
}

static void note_stray(Users *users, const char *name) {
        name = plain_name(name);
        if (!g_hash_table_contains(users->strays, name))
                g_hash_table_add(users->strays, g_strdup(name));
        users->strays_are_new = true;
}

static void on_created(void *context, const char *name) {
        Users *users = context;

        vfio_openings_forget(users->openings, plain_name(name));
        (void) g_hash_table_remove(users->opened, plain_name(name));
}

/* UINT32_MAX: the process has ended, or the kernel keeps its pid for itself. */
static uint32_t users_uid_of(pid_t pid) {
        uint32_t uid;

        return pid > 0 && process_read_uid(pid, &uid) >= 0 ? uid : UINT32_MAX;
}

static void on_users_opened(void *context, pid_t pid, const char *name) {
        Users *users = context;
        bool was_open;

        name = plain_name(name);
        was_open = vfio_openings_is_open(users->openings, name);
        users->handler->opened(users->context);
        vfio_closings_opened(users->closings, name);
        vfio_openings_opened(users->openings, name, users_uid_of(pid));
        /* Without CAP_SYS_ADMIN the kernel keeps it for itself. */
        if (pid <= 0 || (g_hash_table_size(users->openers) >= OPENERS_MAX &&
                         !g_hash_table_contains(users->openers, GINT_TO_POINTER(pid))))
                note_stray(users, name);
        else
                note_opener(users, pid, name, was_open);
        users_schedule(users);
}

/* Whether that was the last one: what is in doubt is searched for. */
static void search_if_doubtful(Users *users, const char *name) {
        GHashTableIter iter;
        VfioDevice *device;

        if (!vfio_openings_is_doubtful(users->openings, name))
                return;
        /* Another descriptor may wait in a socket for a moment: the search is soon repeated. */
        users->n_lost_ticks = 0;
        g_hash_table_iter_init(&iter, users->functions);
        while (g_hash_table_iter_next(&iter, NULL, (gpointer *) &device))
                if (users_node_is(device, name))
                        users_need_walk(users, device);
}

static void on_users_closed(void *context, const char *name, bool again) {
        Users *users = context;

        name = plain_name(name);
        (void) g_hash_table_remove(users->opened, name);
        vfio_openings_closed(users->openings, name, again);
        search_if_doubtful(users, name);
        if (!again)
                vfio_closings_closed(users->closings, name, users->n_rounds + 1,
                                     scanner_next_ticket(users->scanner));
        users->handler->closed(users->context, name);
        users->check = true;
        users_schedule(users);
}

static void on_users_overrun(void *context) {
        Users *users = context;

        users_doubt_openings(users);
        vfio_closings_missed(users->closings);
        users->handler->missed(users->context);
        users_need_walk(users, NULL);
}

static void be_alert(Users *users) {
        users->alert_until_usec = now_usec() + ALERT_USEC;
        users_set_timer(users);
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

VfioFinding users_finding(const Users *users, PciKey key) {
        const VfioDevice *device = g_hash_table_lookup(users->functions, &key);

        return device ? device->finding : VFIO_FOUND_NOBODY;
}

bool users_is_node_of(const Users *users, PciKey key, const char *name) {
        const VfioDevice *device = g_hash_table_lookup(users->functions, &key);

        return device && users_node_is(device, name);
}

uint64_t users_look(Users *users) {
        users->everybody = true;
        users_schedule(users);
        return users->n_walks + 1;
}

void users_start(Users *users) {
        users->started = true;
        users_doubt_openings(users);
        users_need_walk(users, NULL);
        users_update_now(users);
}

void users_drain(Users *users) {
        vfio_watch_drain(users->watch);
}

void users_drop_ended(Users *users) {
        vfio_watch_drain(users->watch);
        holders_drop_ended(users->holders);
        users_update_now(users);
}

int users_function_changed(Users *users, const Function *function) {
        VfioDevice *device = g_hash_table_lookup(users->functions, &function->facts.key);
        g_autofree char *name = NULL;
        dev_t node = 0;
        int bound = vfio_device_read_bound(function, &node, &name), r = MIN(bound, 0);

        if (!device && !bound)
                return 0;
        /* A function that cannot be looked at is bound as it was, and before the first look it may
         * be bound to VFIO. */
        if (r < 0 && device)
                return r;
        if (!device) {
                device = vfio_device_new(function->facts.key);
                g_hash_table_insert(users->functions, &device->vfio.key, device);
        }
        if (bound && !device->bound) {
                be_alert(users);
                users->strays_are_new = g_hash_table_size(users->strays) > 0;
        }
        device->bound = bound != 0;
        device->vfio.unbound = !bound;
        /* What is being unbound keeps its node and group for who still has it open; another driver
         * gets it only after the last of them has released it. VFIO
         * removes the entry of the device node in sysfs first, while the rest stays. */
        if (bound) {
                device->is_old |= !users->started;
                device->released = false;
                if (name) {
                        device->node = node;
                        g_free(device->node_name);
                        device->node_name = g_steal_pointer(&name);
                }
                device->vfio.group = function->facts.iommu_group;
        } else if (function->facts.driver[0] != '\0') {
                users_forget_openings(users, device);
                vfio_device_mark_released(device);
        }
        users->check = true;
        users_schedule(users);
        users_update_soon(users, false);
        return r < 0 ? r : vfio_device_check(device);
}

void users_function_gone(Users *users, PciKey key) {
        const VfioDevice *device = g_hash_table_lookup(users->functions, &key);

        if (device)
                users_forget_openings(users, device);
        (void) g_hash_table_remove(users->functions, &key);
}

static const VfioWatchHandler watch_handler = { on_created, on_users_opened, on_users_closed,
                                                on_users_overrun };

int users_new(sd_event *event, const Inventory *inventory, const UsersHandler *handler,
              void *context, Users **ret) {
        g_autoptr(Users) users = g_new0(Users, 1);
        int r;

        users->event = sd_event_ref(event);
        users->inventory = inventory;
        users->handler = handler;
        users->context = context;
        users->functions = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, free_device);
        users->openers = g_hash_table_new_full(NULL, NULL, NULL, free_opener);
        users->unnamed = g_hash_table_new(NULL, NULL);
        users->refreshes = g_ptr_array_new_with_free_func(users_refresh_free);
        users->openers_due_usec = UINT64_MAX;
        users->openings = vfio_openings_new();
        users->strays = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        users->opened = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
        users->closings = vfio_closings_new();

        r = vfio_watch_new(event, &watch_handler, users, &users->watch);
        if (r < 0)
                return r;
        users->holders = holders_new(event, &users_holders_handler, users);
        r = scanner_new(event, "vfwarden-scan", vfio_watch_marks(users->watch),
                        &users_scanner_handler, users, &users->scanner);
        if (r >= 0)
                r = commands_new(event, users_on_command, users, &users->commands);
        if (r >= 0)
                r = wakeup_new_timer(event, 1, on_conclusion, users, &users->conclusion);
        if (r >= 0)
                r = wakeup_new_timer(event, 1, on_users_work, users, &users->work);
        if (r >= 0)
                r = wakeup_new_timer(event, 1, on_users_timer, users, &users->timer);
        if (r >= 0)
                r = sd_event_source_set_description(users->timer, "users: look at `enable`");
        if (r >= 0)
                r = sd_event_source_set_description(users->work, "users: work");
        if (r >= 0)
                r = sd_event_source_set_description(users->conclusion, "users: update");
        if (r < 0)
                return r;

        if (sd_login_monitor_new("machine", &users->machines) >= 0)
                r = sd_event_add_io(event, &users->machines_source,
                                    sd_login_monitor_get_fd(users->machines), EPOLLIN, on_machines,
                                    users);
        if (users->machines_source)
                (void) sd_event_source_set_description(users->machines_source, "users: machines");
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
        sd_event_source_disable_unref(users->conclusion);
        scanner_free(users->scanner);
        commands_free(users->commands);
        holders_free(users->holders);
        vfio_watch_free(users->watch);
        g_hash_table_unref(users->functions);
        g_hash_table_unref(users->openers);
        users_sockets_free(users->sockets);
        users_sockets_free(users->last_sockets);
        users_sockets_free(users->next_sockets);
        g_hash_table_unref(users->strays);
        g_hash_table_unref(users->opened);
        vfio_closings_free(users->closings);
        g_hash_table_unref(users->unnamed);
        vfio_openings_free(users->openings);
        g_ptr_array_unref(users->refreshes);
        sd_event_unref(users->event);
        g_free(users);
        return NULL;
}
