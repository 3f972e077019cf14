#include "daemon/leases.h"

#include "daemon/log.h"
#include "daemon/process.h"
#include "daemon/receipt.h"
#include "daemon/sysfs.h"
#include "daemon/util.h"
#include "daemon/vfio-node.h"
#include "daemon/vfio-open.h"

#include <errno.h>
#include <string.h>
#include <time.h>

/* From the request to the answer, and below the time after which D-Bus clients stop waiting by themselves. */
#define OPEN_TIMEOUT_USEC (20 * 1000 * 1000ULL)

/* All users together. */
#define LEASES_MAX 1024

typedef struct Entry {
        Leases *leases;
        Lease lease; /* strings owned; what the function points to */
        PciKey key;
        uint64_t inode, binding; /* of the function, and of its driver's link */
        int32_t group;
        char *node; /* below /dev/vfio */
        LeaseSigns signs;
        bool adopted; /* and not told of yet */
        VfioOpen *open;
        sd_event_source *timer; /* until it is opened */
        LeaseOpened *opened;    /* NULL once told */
        void *context;
        Receipt *receipt; /* NULL: the answer was read */
} Entry;

struct Leases {
        sd_event *event;
        Inventory *inventory;
        Users *users;
        const LeasesHandler *handler;
        void *context;
        GPtrArray *entries; /* of Entry*, owned */
        uint64_t next_generation;
};

static void entry_free(gpointer data) {
        Entry *entry = data;

        sd_event_source_disable_unref(entry->timer);
        vfio_open_free(entry->open);
        receipt_free(entry->receipt);
        g_free(entry->node);
        g_free(entry->lease.command);
        g_free(entry->lease.unit);
        g_free(entry);
}

/* Higher than any that an earlier daemon gave: nobody makes one a microsecond. */
static uint64_t first_generation(void) {
        struct timespec t;

        (void) clock_gettime(CLOCK_BOOTTIME, &t);
        return (uint64_t) t.tv_sec * 1000000 + (uint64_t) t.tv_nsec / 1000;
}

Leases *leases_new(sd_event *event, Inventory *inventory, Users *users,
                   const LeasesHandler *handler, void *context) {
        Leases *leases = g_new0(Leases, 1);

        leases->event = sd_event_ref(event);
        leases->inventory = inventory;
        leases->users = users;
        leases->handler = handler;
        leases->context = context;
        leases->entries = g_ptr_array_new_with_free_func(entry_free);
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

static Entry *find(const Leases *leases, PciKey key) {
        for (guint i = 0; i < leases->entries->len; i++) {
                Entry *entry = leases->entries->pdata[i];

                if (entry->key == key)
                        return entry;
        }
        return NULL;
}

static Entry *find_generation(const Leases *leases, uint64_t generation) {
        for (guint i = 0; i < leases->entries->len; i++) {
                Entry *entry = leases->entries->pdata[i];

                if (entry->lease.generation == generation)
                        return entry;
        }
        return NULL;
}

/* The one by which somebody has the function's group. */
static Entry *find_group(const Leases *leases, int32_t group) {
        for (guint i = 0; i < leases->entries->len; i++) {
                Entry *entry = leases->entries->pdata[i];

                if (group >= 0 && entry->group == group && entry->lease.kind == LEASE_KIND_GROUP)
                        return entry;
        }
        return NULL;
}

/* The function, if it is the same device still. */
static Function *entry_function(const Entry *entry) {
        Function *function = inventory_get(entry->leases->inventory, entry->key);

        return function && function->facts.inode == entry->inode ? function : NULL;
}

static void tell_change(const Entry *entry) {
        const Leases *leases = entry->leases;
        const GPtrArray *group = inventory_group(leases->inventory, entry->group);

        leases->handler->changed(leases->context, entry->key);
        for (guint i = 0; group && i < group->len; i++) {
                PciKey key = ((const Function *) group->pdata[i])->facts.key;

                if (key != entry->key)
                        leases->handler->changed(leases->context, key);
        }
}

/* Forgets it, and tells whoever waits, if somebody does. */
static void entry_end(Entry *entry, int result, const char *message) {
        Leases *leases = entry->leases;
        LeaseOpened *opened = g_steal_pointer(&entry->opened);
        Function *function = entry_function(entry);
        PciAddress address = pci_address_from_key(entry->key);
        void *context = entry->context;
        guint place = 0;

        if (entry->signs.opened)
                log_full(LOG_INFO, &address, NULL,
                         "what was opened for %s (uid %u) is no longer in use",
                         entry->lease.command, entry->lease.uid);
        entry->receipt = receipt_drop(entry->receipt);
        /* Who has it all the same, of a driver that let go behind their back, was not looked for yet. */
        if (entry->signs.opened && !entry->lease.arrived && !entry->signs.closed)
                users_look(leases->users);
        if (function)
                function->lease = NULL;
        (void) g_ptr_array_find(leases->entries, entry, &place);
        (void) g_ptr_array_steal_index(leases->entries, place);
        tell_change(entry);
        entry_free(entry);
        if (opened)
                opened(context, result, message, NULL, NULL);
}

/* --- from the request to the answer */

static int check_limits(const Leases *leases, const Config *config, uint32_t uid) {
        unsigned n = 0;

        for (guint i = 0; i < leases->entries->len; i++)
                n += ((const Entry *) leases->entries->pdata[i])->lease.uid == uid;
        return n >= config->max_leases || leases->entries->len >= LEASES_MAX ? -EDQUOT : 0;
}

/* Sets kind and node. */
static int choose_node(Entry *entry, const Function *function, LeaseKind wanted) {
        g_autofree char *device = vfio_node_of_device(function);
        g_autofree char *group = vfio_node_of_group(function);
        const LeaseNodes nodes = {
                .group = group,
                .device = device,
                .iommufd = vfio_node_has_iommufd(),
        };
        LeaseKind kind = lease_choose_kind(&nodes, wanted);

        if ((int) kind < 0)
                return (int) kind;
        entry->lease.kind = kind;
        entry->node =
                kind == LEASE_KIND_DEVICE ? g_steal_pointer(&device) : g_steal_pointer(&group);
        return 0;
}

static void identify_client(Lease *lease, const LeaseRequest *request) {
        g_autoptr(Process) process = NULL;
        int procfd = process_open_directory((pid_t) request->pid);

        if (procfd >= 0)
                (void) process_new((pid_t) request->pid, procfd, &process);
        lease->pid = request->pid;
        lease->uid = request->uid;
        lease->command = g_strdup(process ? process->command : "");
        lease->unit = g_strdup(process ? process->unit : "");
}

static int on_timeout(sd_event_source *source, uint64_t usec, void *userdata) {
        entry_end(userdata, -ETIMEDOUT, "it was not opened in time");
        return 0;
}

int leases_begin(Leases *leases, Function *function, const Config *config,
                 const LeaseRequest *request, LeaseOpened *done, void *context,
                 uint64_t *ret_generation) {
        Entry *entry;
        int r;

        if (find(leases, function->facts.key))
                return -EBUSY;
        r = check_limits(leases, config, request->uid);
        if (r < 0)
                return r;

        entry = g_new0(Entry, 1);
        entry->leases = leases;
        entry->key = function->facts.key;
        entry->inode = function->facts.inode;
        entry->binding = sysfs_binding(function_address(function));
        entry->group = function->facts.iommu_group;
        entry->lease.generation = leases->next_generation++;
        entry->lease.since_usec = (uint64_t) g_get_real_time();
        r = choose_node(entry, function, request->kind);
        if (r >= 0)
                r = sd_event_add_time_relative(leases->event, &entry->timer, CLOCK_MONOTONIC,
                                               OPEN_TIMEOUT_USEC, 0, on_timeout, entry);
        if (r < 0) {
                entry_free(entry);
                return r;
        }
        identify_client(&entry->lease, request);
        entry->opened = done;
        entry->context = context;
        g_ptr_array_add(leases->entries, entry);
        function->lease = &entry->lease;
        *ret_generation = entry->lease.generation;
        tell_change(entry);
        return 0;
}

void leases_end_calls(Leases *leases, const char *why) {
        for (guint i = 0; i < leases->entries->len; i++) {
                Entry *entry = leases->entries->pdata[i];
                LeaseOpened *opened = g_steal_pointer(&entry->opened);

                if (opened)
                        opened(entry->context, -ECANCELED, why, NULL, NULL);
        }
}

void leases_fail(Leases *leases, uint64_t generation, int result, const char *message) {
        Entry *entry = find_generation(leases, generation);

        if (entry)
                entry_end(entry, result, message);
}

/* The client has read the answer, or it was thrown away. Who has the descriptor now, if anybody, is to be found. */
static void on_receipt_closed(void *context) {
        Entry *entry = context;

        entry->receipt = receipt_drop(entry->receipt);
        entry->signs.in_flight = false;
        users_look(entry->leases->users);
}

/* Why the function can no longer be handed out, or NULL. */
static const char *changed_meanwhile(const Entry *entry, int *ret_error) {
        const Function *function = entry_function(entry);

        *ret_error = function ? -ECONNREFUSED : -ENODEV;
        if (!function)
                return "the function has gone meanwhile";
        if (function->state != FUNCTION_STATE_PRESENT ||
            (function->pf && function->pf->state != FUNCTION_STATE_PRESENT))
                return "it is being taken away";
        if (!function_has_vfio_driver(function) ||
            sysfs_binding(function_address(function)) != entry->binding)
                return "its driver has let go of it meanwhile";
        return NULL;
}

static void hand_out(Entry *entry, LeaseFds *fds) {
        LeaseOpened *opened = g_steal_pointer(&entry->opened);
        PciAddress address = pci_address_from_key(entry->key);

        /* As long as it was open here nobody else can have closed it: what was told up to now is older. */
        users_drain(entry->leases->users);
        entry->timer = sd_event_source_disable_unref(entry->timer);
        entry->signs.opened = entry->signs.in_flight = true;
        log_full(LOG_INFO, &address, NULL, "opened (%s) for %s (pid %u, uid %u)",
                 lease_kind_to_string(entry->lease.kind), entry->lease.command, entry->lease.pid,
                 entry->lease.uid);
        tell_change(entry);
        opened(entry->context, 0, NULL, fds, &entry->lease);
}

static void on_opened(void *context, int fd, int iommufd, const char *step) {
        Entry *entry = context;
        _cleanup_(closep) int node = fd, second = iommufd, writing = -1;
        g_autofree char *message = NULL;
        const char *why;
        int r;

        entry->open = vfio_open_free(entry->open);
        if (fd < 0) {
                message = g_strdup_printf("it cannot be opened: %s: %s", step, g_strerror(-fd));
                entry_end(entry, fd == -EBUSY ? -EBUSY : -EIO, message);
                return;
        }
        why = changed_meanwhile(entry, &r);
        if (why) {
                entry_end(entry, r, why);
                return;
        }
        r = receipt_new(entry->leases->event, entry->lease.generation, on_receipt_closed, entry,
                        &writing, &entry->receipt);
        if (r < 0) {
                entry_end(entry, -EIO, "a pipe cannot be made");
                return;
        }
        hand_out(entry, &(LeaseFds){ .node = node, .iommufd = second, .receipt = writing });
}

void leases_go(Leases *leases, uint64_t generation) {
        Entry *entry = find_generation(leases, generation);
        int r;

        if (!entry)
                return;
        r = vfio_open_node(leases->event, entry->node, entry->lease.kind == LEASE_KIND_DEVICE,
                           on_opened, entry, &entry->open);
        if (r < 0)
                entry_end(entry, r, "it cannot be opened");
}

/* --- until the last copy is closed */

void leases_node_closed(Leases *leases, const char *name) {
        for (guint i = 0; i < leases->entries->len; i++) {
                Entry *entry = leases->entries->pdata[i];
                const char *slash = strrchr(entry->node, '/');

                /* Before it was opened it was another's. */
                if (!entry->signs.opened || !g_str_equal(slash ? slash + 1 : entry->node, name))
                        continue;
                entry->signs.closed = true;
                if (entry->lease.kind == LEASE_KIND_DEVICE)
                        users_look(leases->users);
        }
}

void leases_closes_missed(Leases *leases) {
        for (guint i = 0; i < leases->entries->len; i++)
                ((Entry *) leases->entries->pdata[i])->signs.missed = true;
}

/* Whether somebody was found who has it; who has a group may use any member. */
static bool is_held(const Entry *entry) {
        const Leases *leases = entry->leases;
        const GPtrArray *group = inventory_group(leases->inventory, entry->group);
        g_autoptr(GPtrArray) own = users_of(leases->users, entry->key);
        bool held = own && own->len > 0;

        for (guint i = 0; !held && entry->lease.kind == LEASE_KIND_GROUP && group && i < group->len;
             i++) {
                const Function *peer = group->pdata[i];
                g_autoptr(GPtrArray) users = users_of(leases->users, peer->facts.key);

                held = users && users->len > 0;
        }
        return held;
}

static void conclude(Entry *entry, bool everybody) {
        LeaseSigns *signs = &entry->signs;

        if (!signs->opened)
                return;
        signs->looked = everybody;
        signs->held = is_held(entry);
        if (lease_is_over(entry->lease.kind, signs) || (everybody && !entry_function(entry))) {
                entry_end(entry, 0, NULL);
                return;
        }
        if (!everybody)
                return;
        if (signs->held)
                signs->closed = signs->missed = false;
        /* Of one that an earlier daemon opened nothing has been told: who has it may be nobody that could be found. */
        if (entry->adopted || (!signs->in_flight && !entry->lease.arrived)) {
                entry->adopted = false;
                entry->lease.arrived = !signs->in_flight;
                tell_change(entry);
        }
}

void leases_looked(Leases *leases, bool everybody) {
        for (guint i = leases->entries->len; i > 0; i--)
                conclude(leases->entries->pdata[i - 1], everybody);
}

void leases_attach(Leases *leases, Function *function) {
        Entry *entry = find(leases, function->facts.key);

        if (entry && entry->inode == function->facts.inode)
                function->lease = &entry->lease;
}

void leases_function_changed(Leases *leases, const Function *function) {
        Entry *entry = find(leases, function->facts.key);
        uint64_t binding;

        /* Without a driver somebody is taking it away, and the holder has it still. */
        if (!entry || function->facts.driver[0] == '\0')
                return;
        binding = sysfs_binding(function_address(function));
        if (binding != 0 && (binding != entry->binding || !function_has_vfio_driver(function)))
                entry_end(entry, -ECONNREFUSED, "its driver has let go of it meanwhile");
}

void leases_function_gone(Leases *leases, PciKey key) {
        Entry *entry = find(leases, key);

        if (entry)
                entry_end(entry, -ENODEV, "the function has gone meanwhile");
}

/* --- who it is */

static void add_client(GPtrArray *users, const Lease *lease, bool found) {
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

/* Whether another member of the group shows who has it. */
static bool peer_is_used(const Entry *entry) {
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
                        add_client(users, lease, false);
                }
        }
}

GPtrArray *leases_users(const Leases *leases, const Function *function, GPtrArray *users) {
        const Entry *own = function->lease ? find(leases, function->facts.key) : NULL;
        const Entry *entry = own ? own : find_group(leases, function->facts.iommu_group);

        if (!entry)
                return users;
        /* Who has it on the way is the daemon, its process, or the bus. */
        if (!entry->lease.arrived)
                g_clear_pointer(&users, g_ptr_array_unref);
        if (users)
                mark_brokered(users, &entry->lease);
        if (!own || (users && users->len > 0) || (entry->lease.arrived && peer_is_used(entry)))
                return users;
        if (!users)
                users = user_list_new();
        add_client(users, &entry->lease, !entry->lease.arrived);
        return users;
}

/* --- over a restart */

void leases_record(const Leases *leases, State *state) {
        for (guint i = 0; i < leases->entries->len; i++) {
                const Entry *entry = leases->entries->pdata[i];
                const Lease *lease = &entry->lease;

                if (!entry->signs.opened)
                        continue;
                StateLease record = {
                        .key = entry->key,
                        .inode = entry->inode,
                        .binding = entry->binding,
                        .group = entry->group,
                        .node = g_strdup(entry->node),
                        .lease = *lease,
                };

                record.lease.command = g_strdup(lease->command);
                record.lease.unit = g_strdup(lease->unit);
                g_array_append_val(state->leases, record);
        }
}

static void adopt(Leases *leases, const StateLease *record, FdStore *store) {
        Entry *entry = g_new0(Entry, 1);

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
        entry->receipt = receipt_adopt(leases->event, entry->lease.generation, store,
                                       on_receipt_closed, entry);
        /* It may have been closed while nobody was there to see it. */
        entry->signs =
                (LeaseSigns){ .opened = true, .in_flight = entry->receipt != NULL, .missed = true };
        g_ptr_array_add(leases->entries, entry);
}

void leases_adopt(Leases *leases, const State *state, FdStore *store) {
        for (guint i = 0; i < state->leases->len; i++) {
                const StateLease *record = &g_array_index(state->leases, StateLease, i);

                leases->next_generation =
                        MAX(leases->next_generation, record->lease.generation + 1);
                adopt(leases, record, store);
        }
}
