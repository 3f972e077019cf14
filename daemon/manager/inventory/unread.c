#include "daemon/manager/inventory/unread.h"

#include "daemon/base/retries.h"
#include "daemon/sysfs/sysfs.h"
#include "policy/topology.h"

struct Unread {
        Apply *apply;
        const PartContext *context;
        Retries *retries;    /* functions, all or some facts of which cannot be read */
        GHashTable *unknown; /* set of PciKey* that exist, and of which nothing can be read */
        bool changed;        /* `unknown`, since the PFs were marked */
};

int unread_new(Apply *apply, UnreadDue *due, void *due_context, Unread **ret) {
        Unread *unread = g_new0(Unread, 1);
        int r;

        unread->apply = apply;
        unread->context = apply_context(apply);
        unread->unknown = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
        r = retries_new(unread->context->event, due, due_context, &unread->retries);
        if (r < 0) {
                unread_free(unread);
                return r;
        }
        *ret = unread;
        return 0;
}

Unread *unread_free(Unread *unread) {
        if (!unread)
                return NULL;
        retries_free(unread->retries);
        g_hash_table_unref(unread->unknown);
        g_free(unread);
        return NULL;
}

/* The PFs are marked when the loop has come to what is to be read. */
static void note_change(Unread *unread, bool changed) {
        if (!changed)
                return;
        unread->changed = true;
        apply_wake(unread->apply);
}

void unread_add(Unread *unread, PciKey key, const FunctionReadFailure *failure) {
        problems_report_function(unread->context->problems, pci_address_from_key(key), "read",
                                 "Failed to read %s: %s", failure->file,
                                 g_strerror(-failure->error));
        retries_add(unread->retries, key);
        if (reserve_helps(failure->error))
                reserve_check(unread->context->reserve, unread->context->problems);
        if (!inventory_get(unread->context->inventory, key))
                note_change(unread,
                            g_hash_table_add(unread->unknown, g_memdup2(&key, sizeof(key))));
}

void unread_drop(Unread *unread, PciKey key, bool watched) {
        problems_resolve_function(unread->context->problems, pci_address_from_key(key), "read");
        if (watched)
                retries_drop(unread->retries, key);
        else
                retries_add(unread->retries, key);
        note_change(unread, g_hash_table_remove(unread->unknown, &key));
}

void unread_forget(Unread *unread, PciKey key) {
        problems_function_gone(unread->context->problems, pci_address_from_key(key));
        retries_drop(unread->retries, key);
        note_change(unread, g_hash_table_remove(unread->unknown, &key));
}

void unread_note_list(Unread *unread, int r) {
        if (r < 0) {
                problems_report(unread->context->problems, "list",
                                "Failed to list the PCI functions in %s: %s", SYSFS_PCI_DEVICES,
                                g_strerror(-r));
                retries_add(unread->retries, RETRIES_EVERYTHING);
                return;
        }
        problems_resolve(unread->context->problems, "list");
        retries_drop(unread->retries, RETRIES_EVERYTHING);
}

static bool lists_unknown(const Unread *unread, const Function *pf) {
        const GArray *links = pf->facts.virtfns;

        for (guint i = 0; links && i < links->len; i++)
                if (g_hash_table_contains(unread->unknown, &g_array_index(links, VirtfnLink, i).vf))
                        return true;
        return false;
}

void unread_mark_pfs(Unread *unread) {
        const PartContext *context = unread->context;
        g_autoptr(GPtrArray) marked = g_ptr_array_new();
        Function *function;

        /* Of a PF that is new, or lists other VFs, as well, while there are such functions. */
        if (!unread->changed && g_hash_table_size(unread->unknown) == 0)
                return;
        unread->changed = false;
        inventory_foreach (context->inventory, function) {
                bool unreadable = lists_unknown(unread, function);

                if (unreadable == function->unreadable_vfs)
                        continue;
                function->unreadable_vfs = unreadable;
                topology_update(function);
                g_ptr_array_add(marked, function);
        }
        for (guint i = 0; i < marked->len; i++) {
                apply_queue(unread->apply, marked->pdata[i]);
                context->host->tell(context->host_context, marked->pdata[i], PART_NEWS_VF_USERS);
        }
}

bool unread_is_empty(const Unread *unread) {
        return g_hash_table_size(unread->unknown) == 0 &&
               !retries_has(unread->retries, RETRIES_EVERYTHING);
}
