/* Functions that cannot be read at present. What is known of them stays, nothing is opened on their
 * account, and they are tried again. */
#include "daemon/manager/manager-internal.h"
#include "daemon/sysfs/sysfs.h"

/* What fails for want of a descriptor is told where it fails; this tells why. */
void manager_check_descriptors(Manager *manager) {
        int r = reserve_probe(manager->reserve);

        if (r < 0)
                problems_report(manager->problems, MANAGER_PROBLEM_DESCRIPTORS,
                                "Failed to get a descriptor, changes are seen late: %s",
                                g_strerror(-r));
        else if (reserve_fill(manager->reserve))
                problems_resolve(manager->problems, MANAGER_PROBLEM_DESCRIPTORS);
}

void manager_unread(Manager *manager, PciKey key, const FunctionReadFailure *failure) {
        problems_report_function(manager->problems, pci_address_from_key(key), "read",
                                 "Failed to read %s: %s", failure->file,
                                 g_strerror(-failure->error));
        retries_add(manager->rereads, key);
        if (reserve_helps(failure->error))
                manager_check_descriptors(manager);
        if (!inventory_get(manager->inventory, key))
                manager->unknown_changed |=
                        g_hash_table_add(manager->unknown, g_memdup2(&key, sizeof(key)));
}

void manager_read(Manager *manager, PciKey key, bool watched) {
        problems_resolve_function(manager->problems, pci_address_from_key(key), "read");
        if (watched)
                retries_drop(manager->rereads, key);
        else
                retries_add(manager->rereads, key);
        manager->unknown_changed |= g_hash_table_remove(manager->unknown, &key);
}

void manager_forget_unread(Manager *manager, PciKey key) {
        problems_function_gone(manager->problems, pci_address_from_key(key));
        retries_drop(manager->rereads, key);
        retries_drop(manager->overrides, key);
        retries_drop(manager->relocks, key);
        retries_drop(manager->closings, key);
        manager->unknown_changed |= g_hash_table_remove(manager->unknown, &key);
}

void manager_list_failed(Manager *manager, int r) {
        problems_report(manager->problems, "list", "Failed to list the PCI functions in %s: %s",
                        SYSFS_PCI_DEVICES, g_strerror(-r));
        retries_add(manager->rereads, RETRIES_EVERYTHING);
}

void manager_listed(Manager *manager) {
        problems_resolve(manager->problems, "list");
        retries_drop(manager->rereads, RETRIES_EVERYTHING);
}

void manager_on_reread(void *context, PciKey key) {
        Manager *manager = context;

        if (key == RETRIES_EVERYTHING)
                manager_mark_all_stale(manager);
        else
                manager_mark_stale(manager, key);
}

void manager_on_override_due(void *context, PciKey key) {
        override_reader_ask(((const Manager *) context)->override_reader, key);
}

void manager_on_relock(void *context, PciKey key) {
        Manager *manager = context;
        Function *function = inventory_get(manager->inventory, key);

        if (function)
                manager_queue(manager, function);
        else
                retries_drop(manager->relocks, key);
}

static bool lists_unknown(const Manager *manager, const Function *pf) {
        const GArray *links = pf->facts.virtfns;

        for (guint i = 0; links && i < links->len; i++)
                if (g_hash_table_contains(manager->unknown,
                                          &g_array_index(links, VirtfnLink, i).vf))
                        return true;
        return false;
}

void manager_note_unknown(Manager *manager) {
        Function *function;

        /* Of a PF that is new, or lists other VFs, as well, while there are such functions. */
        if (!manager->unknown_changed && g_hash_table_size(manager->unknown) == 0)
                return;
        manager->unknown_changed = false;
        inventory_foreach (manager->inventory, function) {
                bool unreadable = lists_unknown(manager, function);

                if (unreadable == function->unreadable_vfs)
                        continue;
                function->unreadable_vfs = unreadable;
                manager_queue(manager, function);
        }
}

bool manager_knows_all(const Manager *manager) {
        return g_hash_table_size(manager->unknown) == 0 &&
               !retries_has(manager->rereads, RETRIES_EVERYTHING) &&
               override_reader_is_idle(manager->override_reader);
}

void manager_end_takeover(Manager *manager) {
        Function *function;

        if (!manager->remembered || !manager_knows_all(manager))
                return;
        g_clear_pointer(&manager->remembered, g_hash_table_unref);
        g_clear_pointer(&manager->earlier, state_free);
        protected_files_drop_adopted(manager->closed);
        if (manager->earlier_lost)
                inventory_foreach (manager->inventory, function)
                        protected_files_open_strays(manager->closed, function, NULL);
        manager_save_state(manager);
}
