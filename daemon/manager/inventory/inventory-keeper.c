#include "daemon/manager/inventory/inventory-keeper.h"

#include "daemon/base/log.h"
#include "daemon/base/retries.h"
#include "daemon/guard/orphan.h"
#include "daemon/guard/protected-files.h"
#include "daemon/manager/inventory/device-failures.h"
#include "daemon/manager/inventory/overrides.h"
#include "daemon/manager/inventory/storm.h"
#include "daemon/manager/inventory/unread.h"
#include "daemon/manager/statistics.h"
#include "daemon/sysfs/function-watches.h"
#include "daemon/sysfs/pci-names.h"
#include "daemon/sysfs/sysfs.h"
#include "daemon/sysfs/uevents.h"
#include "daemon/sysfs/virtfn-links.h"
#include "policy/absence.h"
#include "policy/topology.h"
#include "policy/vf-departure.h"

#include <errno.h>
#include <string.h>

struct InventoryKeeper {
        const PartContext *context;
        Apply *apply;
        Parts *parts;
        Publisher *publisher;
        const Settings *settings;
        PciNames *names;
        Uevents *uevents;
        Overrides *overrides;
        Unread *unread;
        Storm *storm;
        DeviceFailures *failures;
        GHashTable *stale; /* set of PciKey* to be read again */
        GHashTable *lists; /* PciKey* of a PF -> GArray of the PciKeys of VFs to be in its list */
        FunctionWatches *watches;
        PciKey last_vf; /* that was read; it may have gone, or be another one if it is stale */
};

static gpointer key_copy(PciKey key) {
        return g_memdup2(&key, sizeof(key));
}

void inventory_keeper_mark_stale(InventoryKeeper *keeper, PciKey key) {
        g_hash_table_add(keeper->stale, key_copy(key));
        apply_wake(keeper->apply);
}

/* VFs of the PF have come or gone: its links are read again. `vf`, if not NULL, is to have one. */
static void mark_lists(InventoryKeeper *keeper, PciKey pf, const Function *vf) {
        GArray *vfs = g_hash_table_lookup(keeper->lists, &pf);

        if (!vfs) {
                vfs = g_array_new(FALSE, FALSE, sizeof(PciKey));
                g_hash_table_insert(keeper->lists, key_copy(pf), vfs);
        }
        if (vf)
                g_array_append_val(vfs, vf->facts.key);
        apply_wake(keeper->apply);
}

/* A process wrote to a file of the function, or changed its mode. */
static void on_touched(void *context, void *userdata, const char *name) {
        InventoryKeeper *keeper = context;
        Function *function = userdata;

        protected_files_touched(part_find(keeper->context, protected_files_part),
                                function->facts.key, name);
        /* A write to these changes a property, and the kernel sends no event of it. */
        if (strcmp(name, "driver_override") == 0)
                overrides_ask(keeper->overrides, function->facts.key);
        else if (strcmp(name, "sriov_drivers_autoprobe") == 0)
                inventory_keeper_mark_stale(keeper, function->facts.key);
        else if (strcmp(name, "reset_method") == 0)
                function->facts.reset_scope = function_read_reset_scope(function);
}

/* A VF went before it was ever read, or was first read when its links had gone: its PF, which
 * counted it, has no other event. */
static void mark_lister(InventoryKeeper *keeper, PciKey vf) {
        const Function *function;

        inventory_foreach (keeper->context->inventory, function)
                if (virtfn_links_have(function->facts.virtfns, vf))
                        inventory_keeper_mark_stale(keeper, function->facts.key);
}

/* No event reports the end of the function to those that it was linked with. */
static void mark_left(InventoryKeeper *keeper, Function *pf, PciKey key, bool was_pf) {
        Function *other;

        if (pf) {
                apply_queue(keeper->apply, pf);
                mark_lists(keeper, pf->facts.key,
                           NULL); /* its links went without an event for it */
        } else
                mark_lister(keeper, key);
        if (!was_pf)
                return;
        inventory_foreach (keeper->context->inventory, other)
                if (!property_set_is_empty(&other->changes))
                        apply_queue(keeper->apply, other);
}

static void keeper_forget(InventoryKeeper *keeper, Function *function) {
        PciKey key = function->facts.key;
        Function *pf = function->pf;
        bool was_pf = function->kind == FUNCTION_KIND_PF;

        vf_departure_note(function); /* by what is done to it until now */
        publisher_function_gone(keeper->publisher, function);
        parts_function_gone(keeper->parts, function);
        unread_forget(keeper->unread, key);
        overrides_function_gone(keeper->overrides, key);
        function_watches_remove(keeper->watches, key);
        apply_function_gone(keeper->apply, function);
        /* On s390 its VFs may stay, and are then somebody else's. */
        for (guint i = 0; function->vfs && i < function->vfs->len; i++) {
                orphan_report(keeper->context, function->vfs->pdata[i]);
                inventory_keeper_mark_stale(keeper,
                                            ((Function *) function->vfs->pdata[i])->facts.key);
        }

        for (Function *above = function->parent; above; above = above->parent)
                apply_queue(keeper->apply, above);
        if (function->parent && !pf) /* an unplug of it may wait */
                inventory_keeper_mark_stale(keeper, function->parent->facts.key);
        inventory_remove(keeper->context->inventory, function);

        apply_wake(keeper->apply);
        mark_left(keeper, pf, key, was_pf);
}

/* `pf`, which had `before` links to VFs, was read again. */
static void check_num_vfs(InventoryKeeper *keeper, Function *pf, uint16_t before) {
        Violation violation = {
                .key = pf->facts.key,
                .operation = operation_to_string(OPERATION_SET_NUM_VFS),
                .reasons = pf->lock_reasons,
                .num_vfs_before = before,
                .num_vfs = pf->facts.n_virtfn_links,
        };
        bool explained = vf_departures_explain(pf, before, violation.num_vfs);

        /* An operation of ours is no violation. */
        if (pf->operation || explained || violation.num_vfs == before ||
            !lock_num_vfs_change_violates(pf))
                return;
        if (!pf->tainted) {
                pf->tainted = true;
                property_set_add(&pf->changes, FUNCTION_PROPERTY_TAINTED);
                apply_record_changed(keeper->apply);
        }
        keeper->context->host->violation(keeper->context->host_context, &violation);
}

/* A PF lists VFs that it did not list before and that are not known yet: their own events will
 * come, but a client that looks now should find them. */
static void mark_new_vfs(InventoryKeeper *keeper, const GArray *before, const GArray *links) {
        for (guint i = 0; links && i < links->len; i++) {
                PciKey vf = g_array_index(links, VirtfnLink, i).vf;

                if (!inventory_get(keeper->context->inventory, vf) &&
                    !virtfn_links_have(before, vf))
                        inventory_keeper_mark_stale(keeper, vf);
        }
}

static void on_arrived(void *context, PciKey key) {
        InventoryKeeper *keeper = context;

        g_hash_table_add(keeper->stale, key_copy(key));
        /* Those of a storm are read together. */
        if (overrides_are_known(keeper->overrides) || storm_take(keeper->storm, key))
                apply_wake(keeper->apply);
}

static void on_absent(void *context, PciKey key) {
        InventoryKeeper *keeper = context;

        unread_forget(keeper->unread, key);
        mark_lister(keeper, key);
}

static const OverridesHandler overrides_handler = { .arrived = on_arrived, .absent = on_absent };

/* Gives `facts` their driver_override: as it is known, or as it was answered. Returns false when it
 * has to be asked for first. */
static bool complete_facts(InventoryKeeper *keeper, const Function *function,
                           FunctionFacts *facts) {
        GRefString *override = overrides_take(keeper->overrides, facts->key, facts->inode);

        if (function) {
                g_clear_pointer(&override, g_ref_string_release);
                override = g_ref_string_acquire(function->facts.driver_override);
        }
        if (!override)
                return false;
        g_ref_string_release(facts->driver_override);
        facts->driver_override = override;
        return true;
}

/* What is to be done about a function that has been read; `num_vfs` links to VFs and `driver` are
 * of before. */
static void add_or_update(InventoryKeeper *keeper, Function *function, bool is_new,
                          uint16_t num_vfs, const GRefString *driver) {
        if (is_new) {
                function->emulated =
                        config_emulates(settings_config(keeper->settings), function->facts.key);
                parts_attach(keeper->parts, function);
                topology_update(function);
                return;
        }
        check_num_vfs(keeper, function, num_vfs);
        /* The program that binds it may have set the override through another mount of sysfs. */
        if (driver != function->facts.driver)
                overrides_driver_changed(keeper->overrides, function->facts.key);
}

/* What is missing of a function that is known: `failure` kept something from being read, NULL for
 * nothing. */
static void note_reading(InventoryKeeper *keeper, Function *function,
                         const FunctionReadFailure *failure) {
        PciKey key = function->facts.key;
        bool watched = function_watches_add(keeper->watches, function);

        if (failure) {
                unread_add(keeper->unread, key, failure);
                return;
        }
        unread_drop(keeper->unread, key, watched);
}

/* A whole reading of the PF for each VF would be most of the work of a storm. Returns false where
 * it takes one: for a change that violates a lock, and for the end of the last VF. */
static bool read_lists(InventoryKeeper *keeper, Function *pf, const GArray *vfs) {
        g_autoptr(GArray) links = NULL;
        uint16_t before = pf->facts.n_virtfn_links;

        if (pf->kind != FUNCTION_KIND_PF || lock_num_vfs_change_violates(pf) ||
            virtfn_links_read_changes(keeper->context->inventory, pf, vfs, &links) < 0 || !links)
                return false;
        mark_new_vfs(keeper, pf->facts.virtfns, links);
        inventory_set_virtfns(keeper->context->inventory, pf, g_steal_pointer(&links));
        check_num_vfs(keeper, pf, before);
        apply_queue_related(keeper->apply, pf);
        return parts_function_changed(keeper->parts, pf, PART_NEWS_READ, &(const char *){ NULL }) >=
               0;
}

static void read_all_lists(InventoryKeeper *keeper) {
        GHashTableIter iter;
        gpointer key, vfs;

        g_hash_table_iter_init(&iter, keeper->lists);
        while (g_hash_table_iter_next(&iter, &key, &vfs)) {
                Function *pf = inventory_get(keeper->context->inventory, *(const PciKey *) key);

                if (!pf || !read_lists(keeper, pf, vfs))
                        inventory_keeper_mark_stale(keeper, *(const PciKey *) key);
        }
        g_hash_table_remove_all(keeper->lists);
}

/* `asked`: by an event, and not because another function called for it. */
static void read_one(InventoryKeeper *keeper, PciKey key, bool asked) {
        g_auto(FunctionFacts) facts = { 0 };
        FunctionReadFailure failure = { 0 };
        FunctionKind kind = _FUNCTION_KIND_INVALID;
        Function *function = inventory_get(keeper->context->inventory, key);
        const Function *sibling =
                g_hash_table_contains(keeper->stale, &keeper->last_vf)
                        ? NULL
                        : inventory_get(keeper->context->inventory, keeper->last_vf);
        const GRefString *driver = NULL;
        const char *reads = NULL;
        uint16_t num_vfs = 0;
        int r, heard;

        g_hash_table_remove(keeper->stale, &key);
        /* A function that is new is read when the answer is there. */
        if (!function && !overrides_have(keeper->overrides, key)) {
                overrides_ask(keeper->overrides, key);
                return;
        }
        r = function_read(key, function ? &function->facts : NULL, sibling ? &sibling->facts : NULL,
                          keeper->names, &failure, &facts);
        if (r < 0 && !errno_means_absent(r)) {
                unread_add(keeper->unread, key, &failure); /* what is known stays */
                return;
        }
        if (function && (r < 0 || function->facts.inode != facts.inode)) {
                keeper_forget(keeper, function);
                function = NULL;
        }
        if (r < 0) {
                unread_forget(keeper->unread, key);
                if (overrides_forget(keeper->overrides, key))
                        mark_lister(keeper, key);
                return;
        }
        if (!complete_facts(keeper, function, &facts)) {
                overrides_ask(keeper->overrides, key);
                return;
        }

        if (function) {
                kind = function->kind;
                num_vfs = function->facts.n_virtfn_links;
                driver = function->facts.driver;
        }
        mark_new_vfs(keeper, function ? function->facts.virtfns : NULL, facts.virtfns);
        function = inventory_apply(keeper->context->inventory, &facts);
        add_or_update(keeper, function, kind == _FUNCTION_KIND_INVALID, num_vfs, driver);
        if (function->kind == FUNCTION_KIND_VF)
                keeper->last_vf = key;

        /* A VF has its link, and the PF's link to it was not seen: it is new as well. */
        if (function->kind == FUNCTION_KIND_VF && (asked || kind != FUNCTION_KIND_VF) &&
            (!function->pf || function->index == VF_INDEX_UNKNOWN))
                mark_lists(keeper, function->facts.physfn, function);
        heard = parts_function_changed(keeper->parts, function, PART_NEWS_READ, &reads);
        if (r == 0 && heard < 0) {
                failure = (FunctionReadFailure){ heard, reads };
                r = 1;
        }
        apply_queue_related(keeper->apply, function);
        note_reading(keeper, function, r > 0 ? &failure : NULL);
}

static int compare_keys_descending(gconstpointer a, gconstpointer b) {
        return *(const PciKey *) a < *(const PciKey *) b ? 1 : -1; /* no two are equal */
}

void inventory_keeper_read(InventoryKeeper *keeper) {
        storm_release(keeper->storm);
        /* Reading a VF may call for its PF, and that for VFs not known yet: a few rounds at the
         * most, for a VF that is known and was called for calls for nothing. */
        for (unsigned round = 0; g_hash_table_size(keeper->stale) > 0; round++) {
                guint n;
                g_autofree gpointer *stale = g_hash_table_get_keys_as_array(keeper->stale, &n);
                g_autofree PciKey *keys = g_new(PciKey, n);

                for (guint i = 0; i < n; i++)
                        keys[i] = *(const PciKey *) stale[i];
                /* VFs before their PF, which lies below: it then finds all of them, once. */
                qsort(keys, n, sizeof(*keys), compare_keys_descending);
                for (guint i = 0; i < n; i++)
                        if (g_hash_table_contains(keeper->stale, &keys[i]))
                                read_one(keeper, keys[i], round == 0);
                read_all_lists(keeper);
        }
        unread_mark_pfs(keeper->unread);
        pci_names_drop_file(keeper->names);
}

void inventory_keeper_mark_all_stale(InventoryKeeper *keeper) {
        g_autoptr(GArray) keys = NULL;
        Function *function;
        int r;

        inventory_foreach (keeper->context->inventory, function) {
                inventory_keeper_mark_stale(keeper, function->facts.key);
                overrides_ask(keeper->overrides, function->facts.key);
        }
        r = sysfs_list_functions(&keys);
        unread_note_list(keeper->unread, r);
        for (guint i = 0; r >= 0 && i < keys->len; i++)
                inventory_keeper_mark_stale(keeper, g_array_index(keys, PciKey, i));
}

/* Whether no lock and no operation follows from the function's event: it is new, or a VF that
 * nobody uses, of a PF whose VFs may come and go. */
static bool can_wait(const InventoryKeeper *keeper, PciKey key) {
        const Function *function = inventory_get(keeper->context->inventory, key);

        return !function || (function->pf && !function_in_use(function) && !function->operation &&
                             function->state == FUNCTION_STATE_PRESENT &&
                             !lock_num_vfs_change_violates(function->pf));
}

/* What the event says is not looked at: when it is a `remove`, the link that the function is read
 * by has gone already, or belongs to the next device at the address. */
static void on_uevent(void *context, PciKey key) {
        InventoryKeeper *keeper = context;

        g_hash_table_add(keeper->stale, key_copy(key));
        if (!can_wait(keeper, key) || storm_take(keeper->storm, key))
                apply_wake(keeper->apply);
}

static void on_device_failed_event(void *context, PciKey key, const char *what) {
        device_failures_take(((const InventoryKeeper *) context)->failures, key, what);
}

static void on_keeper_overrun(void *context) {
        statistics_events_lost(((const InventoryKeeper *) context)->context,
                               "events were lost, all PCI functions are read again");
        inventory_keeper_mark_all_stale(context);
}

/* In the same turn of the loop: another one would cost five more system calls. */
static void on_keeper_received(void *context) {
        apply_catch_up(((const InventoryKeeper *) context)->apply);
}

static void on_storm_over(void *context) {
        inventory_keeper_hurry(context);
}

static const UeventsHandler uevents_handler = {
        .event = on_uevent,
        .failed = on_device_failed_event,
        .overrun = on_keeper_overrun,
        .received = on_keeper_received,
};

/* --- life */

static void on_keeper_due(void *context, PciKey key) {
        if (key == RETRIES_EVERYTHING)
                inventory_keeper_mark_all_stale(context);
        else
                inventory_keeper_mark_stale(context, key);
}

static GHashTable *new_table(GDestroyNotify value_free) {
        return g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, value_free);
}

int inventory_keeper_new(Apply *apply, Parts *parts, Publisher *publisher, const Settings *settings,
                         int receive_buffer, InventoryKeeper **ret) {
        g_autoptr(InventoryKeeper) keeper = g_new0(InventoryKeeper, 1);
        sd_event *event = apply_context(apply)->event;
        int r;

        keeper->context = apply_context(apply);
        keeper->apply = apply;
        keeper->parts = parts;
        keeper->publisher = publisher;
        keeper->settings = settings;
        keeper->names = pci_names_new();
        keeper->stale = new_table(NULL);
        keeper->lists = new_table((GDestroyNotify) g_array_unref);
        keeper->watches = function_watches_new(keeper->context->watch, keeper->context->problems,
                                               on_touched, keeper);
        r = storm_new(event, on_storm_over, keeper, &keeper->storm);
        if (r >= 0)
                r = unread_new(apply, on_keeper_due, keeper, &keeper->unread);
        if (r >= 0)
                r = overrides_new(apply, &overrides_handler, keeper, &keeper->overrides);
        if (r >= 0)
                r = device_failures_new(keeper->context, keeper->publisher, &keeper->failures);
        if (r >= 0)
                r = uevents_new(event, &uevents_handler, keeper, receive_buffer, &keeper->uevents);
        if (r < 0)
                return r;
        *ret = g_steal_pointer(&keeper);
        return 0;
}

InventoryKeeper *inventory_keeper_free(InventoryKeeper *keeper) {
        if (!keeper)
                return NULL;
        uevents_free(keeper->uevents);
        overrides_free(keeper->overrides);
        unread_free(keeper->unread);
        storm_free(keeper->storm);
        device_failures_free(keeper->failures);
        g_hash_table_unref(keeper->stale);
        g_hash_table_unref(keeper->lists);
        function_watches_free(keeper->watches);
        pci_names_free(keeper->names);
        g_free(keeper);
        return NULL;
}

void inventory_keeper_start(InventoryKeeper *keeper) {
        inventory_keeper_mark_all_stale(keeper);
        inventory_keeper_read(keeper); /* asks for the overrides ... */
        overrides_finish(keeper->overrides);
        inventory_keeper_read(keeper); /* ... and reads the rest */
}

bool inventory_keeper_knows_all(const InventoryKeeper *keeper) {
        return unread_is_empty(keeper->unread) && overrides_are_known(keeper->overrides);
}

bool inventory_keeper_holds_events(const InventoryKeeper *keeper) {
        return storm_holds(keeper->storm);
}

void inventory_keeper_hurry(InventoryKeeper *keeper) {
        if (storm_holds(keeper->storm))
                apply_wake(keeper->apply);
}
