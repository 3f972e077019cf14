#include "daemon/broker/leases.h"

#include "daemon/base/log.h"
#include "daemon/base/util.h"
#include "daemon/base/wakeup.h"
#include "daemon/broker/lease-entry.h"
#include "daemon/broker/records.h"
#include "daemon/sysfs/sysfs.h"

#include <errno.h>
#include <string.h>
#include <time.h>

/* How soon all processes are looked at again when nobody was found who has what was opened, at
 * first and at most. */
#define SEARCH_MIN_USEC (40 * 1000ULL)
#define SEARCH_MAX_USEC (10 * 1000 * 1000ULL)

/* Higher than any that an earlier daemon gave: nobody makes one a microsecond. */
static uint64_t first_generation(void) {
        struct timespec t;

        (void) clock_gettime(CLOCK_BOOTTIME, &t);
        return (uint64_t) t.tv_sec * 1000000 + (uint64_t) t.tv_nsec / 1000;
}

Leases *leases_new(sd_event *event, Spawner *spawner, Children *children, Inventory *inventory,
                   Users *users, FdStore *store, const LeasesHandler *handler, void *context) {
        Leases *leases = g_new0(Leases, 1);

        leases->event = sd_event_ref(event);
        leases->spawner = spawner;
        leases->children = children;
        leases->inventory = inventory;
        leases->users = users;
        leases->store = store;
        leases->handler = handler;
        leases->context = context;
        leases->entries = g_ptr_array_new_with_free_func(lease_entry_free);
        leases->next_generation = first_generation();
        return leases;
}

Leases *leases_free(Leases *leases) {
        if (!leases)
                return NULL;
        g_ptr_array_unref(leases->entries);
        sd_event_unref(leases->event);
        g_free(leases);
        return NULL;
}

LeaseEntry *leases_find(const Leases *leases, PciKey key) {
        for (guint i = 0; i < leases->entries->len; i++) {
                LeaseEntry *entry = leases->entries->pdata[i];

                if (entry->key == key)
                        return entry;
        }
        return NULL;
}

LeaseEntry *leases_find_generation(const Leases *leases, uint64_t generation) {
        for (guint i = 0; i < leases->entries->len; i++) {
                LeaseEntry *entry = leases->entries->pdata[i];

                if (entry->lease.generation == generation)
                        return entry;
        }
        return NULL;
}

/* The one by which somebody has the function's group. */
static LeaseEntry *find_group(const Leases *leases, int32_t group) {
        for (guint i = 0; i < leases->entries->len; i++) {
                LeaseEntry *entry = leases->entries->pdata[i];

                if (group >= 0 && entry->group == group && entry->lease.kind == LEASE_KIND_GROUP)
                        return entry;
        }
        return NULL;
}

/* --- until the last copy is closed */

void leases_node_closed(Leases *leases, const char *name) {
        for (guint i = 0; i < leases->entries->len; i++) {
                LeaseEntry *entry = leases->entries->pdata[i];
                const char *slash = strrchr(entry->node, '/');

                /* Before it was opened it was another's. */
                if (!entry->signs.opened || !g_str_equal(slash ? slash + 1 : entry->node, name))
                        continue;
                entry->signs.closed = true;
                if (entry->lease.kind == LEASE_KIND_DEVICE)
                        entry->needs_walk = users_look(leases->users);
        }
}

void leases_closes_missed(Leases *leases) {
        for (guint i = 0; i < leases->entries->len; i++) {
                LeaseEntry *entry = leases->entries->pdata[i];

                entry->signs.missed = true;
                entry->needs_walk = users_look(leases->users);
        }
}

/* Adds what was found of one function. Who is reported is not asked: that may be a process of
 * before, as long as its descriptor, or the end of its close, is being searched for. */
static void add_finding(const Leases *leases, PciKey key, LeaseSigns *signs, bool *known) {
        static const LeaseHeld held_by[_VFIO_FOUND_MAX] = {
                [VFIO_FOUND_NOBODY] = LEASE_HELD_BY_NOBODY,
                [VFIO_FOUND_SOMEWHERE] = LEASE_HELD_SOMEWHERE,
                [VFIO_FOUND_PROCESS] = LEASE_HELD_BY_PROCESS,
        };

        signs->held = MAX(signs->held, held_by[users_finding(leases->users, key)]);
        signs->enabled |= users_device_is_open(leases->users, key);
        *known &= users_are_known(leases->users, key);
}

/* Who has the lease; a user of a group may use any member. In `ret_known`, whether that was seen
 * since the last reason to look. */
static void find_holder(LeaseEntry *entry, bool *ret_known) {
        const Leases *leases = entry->leases;
        const GPtrArray *group = inventory_group(leases->inventory, entry->group);
        LeaseSigns *signs = &entry->signs;

        *ret_known = true;
        signs->held = LEASE_HELD_BY_NOBODY;
        signs->enabled = false;
        add_finding(leases, entry->key, signs, ret_known);
        for (guint i = 0; entry->lease.kind == LEASE_KIND_GROUP && group && i < group->len; i++)
                add_finding(leases, ((const Function *) group->pdata[i])->facts.key, signs,
                            ret_known);
}

static int on_search(sd_event_source *source, uint64_t usec, void *userdata) {
        LeaseEntry *entry = userdata;

        entry->needs_walk = users_look(entry->leases->users);
        return 0;
}

/* A process has it: it was passed on while all were being looked at, or is in a socket; or the
 * kernel has not ended its close. All are looked at again, at ever longer intervals. */
static void search_again(LeaseEntry *entry) {
        uint64_t usec = MIN(SEARCH_MIN_USEC << MIN(entry->n_searches, 16U), SEARCH_MAX_USEC);
        PciAddress address = pci_address_from_key(entry->key);

        entry->n_searches++;
        entry->search = sd_event_source_disable_unref(entry->search);
        if (wakeup_new_deadline(entry->leases->event, "leases: search for users", usec, 0,
                                on_search, entry, &entry->search) < 0)
                log_full(LOG_WARNING, &address, NULL, "the users of a lease of %s may not be found",
                         entry->lease.command);
}

static void update_users(LeaseEntry *entry, bool everybody) {
        LeaseSigns *signs = &entry->signs;
        LeaseStep step;
        bool known;

        if (!signs->opened)
                return;
        signs->looked = everybody;
        find_holder(entry, &known);
        step = lease_step(entry->lease.kind, signs);
        if (step == LEASE_STEP_END || (everybody && !lease_entry_function(entry))) {
                lease_entry_end(entry, 0, NULL);
                return;
        }
        if (!everybody)
                return;
        entry->search = sd_event_source_disable_unref(entry->search);
        if (step == LEASE_STEP_CONFIRM && known) {
                /* What was missed stays missed: this process may have the function by its other
                 * node. */
                signs->closed = false;
                entry->n_searches = 0;
        } else if (step == LEASE_STEP_CONFIRM) {
                /* Another look is coming, since its users are not known. */
                entry->needs_walk = users_look(entry->leases->users);
        } else if (step == LEASE_STEP_SEARCH)
                search_again(entry);
        /* Of a lease of an earlier daemon nothing has been reported: perhaps none of its users can
         * be found. */
        if (entry->adopted || (!signs->in_flight && !entry->lease.arrived)) {
                entry->adopted = false;
                entry->lease.arrived = !signs->in_flight;
                lease_entry_tell_change(entry);
        }
}

void leases_looked(Leases *leases, uint64_t walk) {
        for (guint i = leases->entries->len; i > 0; i--) {
                LeaseEntry *entry = leases->entries->pdata[i - 1];

                update_users(entry, walk != 0 && walk >= entry->needs_walk);
        }
}

void leases_attach(Leases *leases, Function *function) {
        LeaseEntry *entry = leases_find(leases, function->facts.key);

        if (entry && entry->inode == function->facts.inode)
                function->lease = &entry->lease;
}

void leases_function_changed(Leases *leases, const Function *function) {
        LeaseEntry *entry = leases_find(leases, function->facts.key);
        uint64_t binding;

        /* Without a driver somebody is taking it away, and the holder has it still. */
        if (!entry || function->facts.driver[0] == '\0')
                return;
        if (sysfs_read_binding(function_address(function), &binding) >= 0 && binding != 0 &&
            (binding != entry->binding || !function_has_vfio_driver(function)))
                lease_entry_end(entry, -ECONNREFUSED, "its driver was unbound meanwhile");
}

void leases_function_gone(Leases *leases, PciKey key) {
        LeaseEntry *entry = leases_find(leases, key);

        if (entry)
                lease_entry_end(entry, -ENODEV, "the function has gone meanwhile");
}

/* --- who it is */

static void add_lease_client(GPtrArray *users, const Lease *lease, bool found) {
        User user = {
                .pid = found ? lease->pid : 0,
                .uid = lease->uid,
                .command = lease->command,
                .unit = found ? lease->unit : (char *) "",
                .machine = (char *) "",
                .since_usec = lease->since_usec,
                .brokered = true,
        };

        g_ptr_array_add(users, user_copy(&user));
}

/* Whether another member of the group shows its users. */
static bool peer_is_used(const LeaseEntry *entry) {
        const GPtrArray *group = inventory_group(entry->leases->inventory, entry->group);

        for (guint i = 0; group && i < group->len; i++) {
                const Function *peer = group->pdata[i];

                if (peer->facts.key != entry->key && function_in_use(peer))
                        return true;
        }
        return false;
}

static void mark_brokered(GPtrArray *users, const Lease *lease) {
        for (guint i = users->len; i > 0; i--) {
                User *user = users->pdata[i - 1];

                user->brokered = true;
                if (user->pid == 0) {
                        g_ptr_array_remove_index(users, i - 1);
                        add_lease_client(users, lease, false);
                }
        }
}

GPtrArray *leases_users(const Leases *leases, const Function *function, GPtrArray *users) {
        const LeaseEntry *own = function->lease ? leases_find(leases, function->facts.key) : NULL;
        const LeaseEntry *entry = own ? own : find_group(leases, function->facts.iommu_group);

        if (!entry)
                return users;
        /* Until it is delivered, the daemon, its process or the bus has it open. */
        if (!entry->lease.arrived)
                g_clear_pointer(&users, g_ptr_array_unref);
        if (users)
                mark_brokered(users, &entry->lease);
        if (!own || (users && users->len > 0) || (entry->lease.arrived && peer_is_used(entry)))
                return users;
        if (!users)
                users = user_list_new();
        add_lease_client(users, &entry->lease, !entry->lease.arrived);
        return users;
}

/* --- over a restart */

void leases_record(const Leases *leases, GArray *records) {
        for (guint i = 0; i < leases->entries->len; i++) {
                const LeaseEntry *entry = leases->entries->pdata[i];
                Lease lease = entry->lease;

                if (!entry->signs.opened)
                        continue;
                lease.command = g_strdup(lease.command);
                lease.unit = g_strdup(lease.unit);
                StateLease record = {
                        .key = entry->key,
                        .inode = entry->inode,
                        .binding = entry->binding,
                        .group = entry->group,
                        .node = g_strdup(entry->node),
                        .lease = lease,
                };
                g_array_append_val(records, record);
        }
}

static void adopt_lease(Leases *leases, const StateLease *record) {
        LeaseEntry *entry = g_new0(LeaseEntry, 1);

        entry->leases = leases;
        entry->key = record->key;
        entry->inode = record->inode;
        entry->binding = record->binding;
        entry->group = record->group;
        entry->node = g_strdup(record->node);
        entry->lease = record->lease;
        entry->lease.command = g_strdup(record->lease.command);
        entry->lease.unit = g_strdup(record->lease.unit);
        entry->lease.arrived = false;
        entry->adopted = true;
        (void) client_pipe_adopt(leases->event, leases->store, LEASE_PIPE_KIND,
                                 entry->lease.generation, lease_entry_delivery_pipe_closed, entry,
                                 &entry->delivery_pipe);
        /* It may have been closed while nobody was there to see it. */
        entry->signs = (LeaseSigns){ .opened = true,
                                     .in_flight = entry->delivery_pipe != NULL,
                                     .missed = true };
        g_ptr_array_add(leases->entries, entry);
}

void leases_adopt(Leases *leases, const GArray *records) {
        for (guint i = 0; i < records->len; i++) {
                const StateLease *record = &g_array_index(records, StateLease, i);

                leases->next_generation =
                        MAX(leases->next_generation, record->lease.generation + 1);
                adopt_lease(leases, record);
        }
}
