#include "daemon/usage/users-state.h"

#include "daemon/base/util.h"

#include <string.h>

#define ALERT_PERIOD_USEC (40 * 1000ULL)
#define CALM_PERIOD_USEC  (1000 * 1000ULL)
/* Of what a tick costs, which grows with the functions and holders there are, so much passes before
 * the next: a host with thousands of VFs is looked at less often, and has its answers as soon as
 * any other. */
#define TICK_COST_FACTOR 50
/* The same for the scanner, which has a processor of its own. */
#define CHECK_COST_FACTOR 10

bool users_node_is(const VfioDevice *device, const char *name) {
        g_autofree char *group = g_strdup_printf("%d", device->vfio.group);

        if (g_str_has_prefix(name, "noiommu-"))
                name += strlen("noiommu-");
        return g_str_equal(name, group) || g_strcmp0(name, device->node_name) == 0;
}

/* Not later than it is due already. */
static void schedule_at(Users *users, uint64_t usec) {
        uint64_t before;
        int enabled = SD_EVENT_OFF;

        (void) sd_event_source_get_enabled(users->work, &enabled);
        if (enabled != SD_EVENT_OFF && sd_event_source_get_time(users->work, &before) >= 0 &&
            before <= usec)
                return;
        (void) sd_event_source_set_time(users->work, usec);
        (void) sd_event_source_set_enabled(users->work, SD_EVENT_ONESHOT);
}

/* The next thing that is to be asked of the scanner. */
void users_schedule(Users *users) {
        uint64_t due = users->openers_due_usec;

        if (((users->check || users->check_all) && users->n_checks == 0) || users->strays_are_new)
                due = 0;
        if (users->everybody && !users->walking)
                due = MIN(due, users->walk_not_before_usec);
        if (due != UINT64_MAX)
                schedule_at(users, due);
}

void users_need_walk(Users *users, VfioDevice *device) {
        uint64_t *needs = device ? &device->needs_walk : &users->needs_walk;

        *needs = users->n_walks + 1;
        users->everybody = true;
        users_schedule(users);
}

static bool is_stray(const Users *users, const VfioDevice *device) {
        g_autofree char *group = g_strdup_printf("%d", device->vfio.group);

        return g_hash_table_contains(users->strays, group) ||
               (device->node_name && g_hash_table_contains(users->strays, device->node_name));
}

/* The openers of the strays are searched for among all processes. Their functions alone wait for
 * that: a user that opens their own device node again and again, each time in another process, must
 * not make all others' unknown. Many nodes are no PCI function's, and one may become that. */
void users_search_for_strays(Users *users) {
        GHashTableIter iter;
        VfioDevice *device;

        if (!users->strays_are_new)
                return;
        users->strays_are_new = false;
        g_hash_table_iter_init(&iter, users->functions);
        while (g_hash_table_iter_next(&iter, NULL, (gpointer *) &device))
                if (is_stray(users, device))
                        device->needs_walk = users->n_walks + 1;
        users->everybody = true;
        users_schedule(users);
}

bool users_is_sure(Users *users, const VfioDevice *device) {
        users_search_for_strays(users);
        return MAX(users->needs_walk, device->needs_walk) <= users->n_walks_ended;
}

void users_note_due(Users *users, const Opener *opener) {
        users->openers_due_usec = MIN(users->openers_due_usec, opener->due_usec);
}

static bool group_is_shared(const Users *users, const VfioDevice *device) {
        const GPtrArray *members = inventory_group(users->inventory, device->vfio.group);
        unsigned n = 0;

        for (guint i = 0; members && i < members->len; i++)
                n += g_hash_table_contains(users->functions,
                                           &((const Function *) members->pdata[i])->facts.key);
        return n > 1;
}

void users_set_timer(Users *users) {
        bool alert = now_usec() < users->alert_until_usec;
        uint64_t period = CALM_PERIOD_USEC;
        GHashTableIter iter;
        VfioDevice *device;

        g_hash_table_iter_init(&iter, users->functions);
        while (!alert && g_hash_table_iter_next(&iter, NULL, (gpointer *) &device))
                alert = device->lost_usec != 0 || (device->users && group_is_shared(users, device));
        if (alert)
                period = CLAMP(MAX(users->tick_cost_usec * TICK_COST_FACTOR,
                                   users->check_cost_usec * CHECK_COST_FACTOR),
                               ALERT_PERIOD_USEC, CALM_PERIOD_USEC);
        (void) sd_event_source_set_time_relative(users->timer, period);
        (void) sd_event_source_set_enabled(users->timer, g_hash_table_size(users->functions) > 0
                                                                 ? SD_EVENT_ONESHOT
                                                                 : SD_EVENT_OFF);
}

uint64_t users_ask(Users *users, pid_t pid, const Holder *holder, bool urgent) {
        ScanRequest request = { .task = SCAN_TASK_LOOK, .pid = pid };

        if (holder) {
                /* Its pidfd tells its end. */
                request.start_time = holder->pidfd >= 0 ? 0 : holder->start_time;
                request.n_numbers = holder->n_numbers;
                memcpy(request.numbers, holder->numbers, sizeof(request.numbers));
        }
        return scanner_ask(users->scanner, &request, urgent);
}
