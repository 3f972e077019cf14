#include "daemon/broker/lease-entry.h"

#include "daemon/base/log.h"

#include <assert.h>

void lease_entry_free(gpointer data) {
        LeaseEntry *entry = data;

        sd_event_source_disable_unref(entry->timer);
        sd_event_source_disable_unref(entry->search);
        vfio_open_free(entry->open);
        client_pipe_free(entry->delivery_pipe);
        g_free(entry->node);
        g_free(entry->lease.command);
        g_free(entry->lease.unit);
        g_free(entry);
}

Function *lease_entry_function(const LeaseEntry *entry) {
        return inventory_get_device(entry->leases->inventory, entry->key, entry->inode);
}

void lease_entry_tell_change(const LeaseEntry *entry) {
        const Leases *leases = entry->leases;
        const GPtrArray *group = inventory_group(leases->inventory, entry->group);

        leases->handler->changed(leases->context, entry->key);
        for (guint i = 0; group && i < group->len; i++) {
                PciKey key = ((const Function *) group->pdata[i])->facts.key;

                if (key != entry->key)
                        leases->handler->changed(leases->context, key);
        }
}

void lease_entry_end(LeaseEntry *entry, int result, const char *message) {
        Leases *leases = entry->leases;
        LeaseOpened *opened = g_steal_pointer(&entry->opened);
        Function *function = lease_entry_function(entry);
        PciAddress address = pci_address_from_key(entry->key);
        void *context = entry->context;
        gboolean is_listed;
        guint place;

        if (entry->signs.opened)
                log_full(LOG_INFO, &address, NULL,
                         "what was opened for %s (uid %u) is no longer in use",
                         entry->lease.command, entry->lease.uid);
        entry->delivery_pipe = client_pipe_drop(entry->delivery_pipe);
        /* Users that remain although the driver was unbound were not looked for yet. */
        if (entry->signs.opened && !entry->lease.arrived && !entry->signs.closed)
                (void) users_look(leases->users);
        if (function)
                function->lease = NULL;
        is_listed = g_ptr_array_find(leases->entries, entry, &place);
        assert(is_listed);
        (void) g_ptr_array_steal_index(leases->entries, place);
        lease_entry_tell_change(entry);
        lease_entry_free(entry);
        if (opened)
                opened(context, result, message, NULL, NULL);
}

void lease_entry_delivery_pipe_closed(void *context) {
        LeaseEntry *entry = context;

        entry->delivery_pipe = client_pipe_drop(entry->delivery_pipe);
        entry->signs.in_flight = false;
        entry->needs_walk = users_look(entry->leases->users);
}
