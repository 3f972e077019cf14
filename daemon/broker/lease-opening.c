#include "daemon/broker/lease-opening.h"

#include "daemon/base/log.h"
#include "daemon/base/process.h"
#include "daemon/base/util.h"
#include "daemon/base/wakeup.h"
#include "daemon/broker/lease-entry.h"
#include "daemon/broker/leases.h"
#include "daemon/sysfs/sysfs.h"
#include "daemon/usage/vfio-node.h"
#include "policy/root-share.h"

#include <errno.h>

/* From the request to the answer, and below the time after which D-Bus clients stop waiting by
 * themselves. */
#define OPEN_TIMEOUT_USEC (20 * 1000 * 1000ULL)

/* All users together. */
#define LEASES_MAX 1024

static int check_lease_limits(const Leases *leases, const Config *config, uint32_t uid) {
        unsigned n = children_count(leases->children, uid);

        for (guint i = 0; i < leases->entries->len; i++)
                n += ((const LeaseEntry *) leases->entries->pdata[i])->lease.uid == uid;
        return n >= config->max_leases || !root_share_left(leases->entries->len, LEASES_MAX, uid)
                       ? -EDQUOT
                       : 0;
}

static int on_timeout(sd_event_source *source, uint64_t usec, void *userdata) {
        lease_entry_end(userdata, -ETIMEDOUT, "it was not opened in time");
        return 0;
}

int lease_opening_begin(Leases *leases, Function *function, const Config *config,
                        const LeaseRequest *request, LeaseOpened *done, void *context,
                        uint64_t *ret_generation) {
        LeaseEntry *entry;
        int r;

        if (leases_find(leases, function->facts.key))
                return -EBUSY;
        r = check_lease_limits(leases, config, request->uid);
        if (r < 0)
                return r;

        entry = g_new0(LeaseEntry, 1);
        entry->leases = leases;
        entry->key = function->facts.key;
        entry->inode = function->facts.inode;
        entry->group = function->facts.iommu_group;
        entry->lease.generation = leases->next_generation++;
        entry->lease.since_usec = (uint64_t) g_get_real_time();
        r = sysfs_read_binding(function_address(function), &entry->binding);
        if (r >= 0)
                r = vfio_node_choose(function, request->kind, &entry->lease.kind, &entry->node);
        if (r >= 0)
                r = wakeup_new_deadline(leases->event, "leases: opening", OPEN_TIMEOUT_USEC, 0,
                                        on_timeout, entry, &entry->timer);
        if (r < 0) {
                lease_entry_free(entry);
                return r;
        }
        entry->lease.pid = request->pid;
        entry->lease.uid = request->uid;
        process_describe((pid_t) request->pid, &entry->lease.command, &entry->lease.unit);
        entry->opened = done;
        entry->context = context;
        g_ptr_array_add(leases->entries, entry);
        function->lease = &entry->lease;
        *ret_generation = entry->lease.generation;
        lease_entry_tell_change(entry);
        return 0;
}

void lease_opening_end_calls(Leases *leases, const char *why) {
        for (guint i = 0; i < leases->entries->len; i++) {
                LeaseEntry *entry = leases->entries->pdata[i];
                LeaseOpened *opened = g_steal_pointer(&entry->opened);

                if (opened)
                        opened(entry->context, -ECANCELED, why, NULL, NULL);
        }
}

void lease_opening_fail(Leases *leases, uint64_t generation, int result, const char *message) {
        LeaseEntry *entry = leases_find_generation(leases, generation);

        if (entry)
                lease_entry_end(entry, result, message);
}

/* Why the function can no longer be handed out, or NULL. */
static const char *changed_meanwhile(const LeaseEntry *entry, int *ret_error) {
        const Function *function = lease_entry_function(entry);
        uint64_t binding;

        *ret_error = function ? -ECONNREFUSED : -ENODEV;
        if (!function)
                return "the function has gone meanwhile";
        if (function->state != FUNCTION_STATE_PRESENT ||
            (function->pf && function->pf->state != FUNCTION_STATE_PRESENT))
                return "it is being taken away";
        if (sysfs_read_binding(function_address(function), &binding) < 0) {
                *ret_error = -EIO;
                return "the link to its driver cannot be read";
        }
        if (!function_has_vfio_driver(function) || binding != entry->binding)
                return "its driver was unbound meanwhile";
        return NULL;
}

static void hand_out(LeaseEntry *entry, LeaseFds *fds) {
        LeaseOpened *opened = g_steal_pointer(&entry->opened);
        PciAddress address = pci_address_from_key(entry->key);

        /* As long as it was open here nobody else can have closed it: what is known up to now is
         * older. */
        users_drain(entry->leases->users);
        entry->timer = sd_event_source_disable_unref(entry->timer);
        entry->signs.opened = entry->signs.in_flight = true;
        log_full(LOG_INFO, &address, NULL, "opened (%s) for %s (pid %u, uid %u)",
                 lease_kind_to_string(entry->lease.kind), entry->lease.command, entry->lease.pid,
                 entry->lease.uid);
        lease_entry_tell_change(entry);
        opened(entry->context, 0, NULL, fds, &entry->lease);
}

static void on_lease_device_opened(void *context, int fd, int iommufd, const char *step) {
        LeaseEntry *entry = context;
        _cleanup_(closep) int node = fd, second = iommufd, writing = -1;
        g_autofree char *message = NULL;
        const char *why;
        int r;

        entry->open = vfio_open_free(entry->open);
        if (fd < 0) {
                message = g_strdup_printf("it cannot be opened: %s: %s", step, g_strerror(-fd));
                lease_entry_end(entry, fd == -EBUSY ? -EBUSY : -EIO, message);
                return;
        }
        why = changed_meanwhile(entry, &r);
        if (why) {
                lease_entry_end(entry, r, why);
                return;
        }
        r = client_pipe_new(entry->leases->event, entry->leases->store, LEASE_PIPE_KIND,
                            entry->lease.generation, lease_entry_delivery_pipe_closed, entry,
                            &writing, &entry->delivery_pipe);
        if (r < 0) {
                lease_entry_end(entry, -EIO, fd_store_error(r));
                return;
        }
        hand_out(entry, &(LeaseFds){ .node = node, .iommufd = second, .delivery_pipe = writing });
}

void lease_opening_go(Leases *leases, uint64_t generation) {
        LeaseEntry *entry = leases_find_generation(leases, generation);
        int r;

        if (!entry)
                return;
        r = vfio_open_node(&(VfioOpenFor){ .spawner = leases->spawner,
                                           .children = leases->children,
                                           .key = entry->key,
                                           .uid = entry->lease.uid },
                           entry->node, entry->lease.kind == LEASE_KIND_DEVICE,
                           on_lease_device_opened, entry, &entry->open);
        if (r < 0)
                lease_entry_end(entry, r, "it cannot be opened");
}
