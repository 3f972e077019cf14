#include "daemon/base/log.h"
#include "daemon/manager/manager-internal.h"
#include "daemon/sysfs/sysfs.h"
#include "policy/absence.h"

#include <errno.h>
#include <string.h>
#include <sys/inotify.h>

static gpointer key_copy(PciKey key) {
        return g_memdup2(&key, sizeof(key));
}

void manager_mark_stale(Manager *manager, PciKey key) {
        g_hash_table_add(manager->stale, key_copy(key));
        (void) sd_event_source_set_enabled(manager->work, SD_EVENT_ONESHOT);
}

/* A process wrote to a file of the function, or changed its mode. */
static void on_touched(void *context, void *userdata, const char *name) {
        Manager *manager = context;
        const Function *function = userdata;

        protected_files_touched(manager->closed, function->facts.key, name);
        /* A write to these changes a property, and the kernel sends no event of it. */
        if (strcmp(name, "driver_override") == 0)
                override_reader_ask(manager->override_reader, function->facts.key);
        else if (strcmp(name, "sriov_drivers_autoprobe") == 0)
                manager_mark_stale(manager, function->facts.key);
}

/* Returns whether it is watched, or going anyway. */
static bool watch_function(Manager *manager, Function *function) {
        g_autofree char *path = sysfs_function_path(function_address(function), NULL);
        PciAddress address = function_address(function);
        int number;

        if (g_hash_table_contains(manager->watches, &function->facts.key))
                return true;
        number = watch_add(manager->watch, path, IN_MODIFY | IN_ATTRIB | IN_ONLYDIR, on_touched,
                           manager, function);
        if (number < 0 && !errno_means_absent(number)) {
                problems_report_function(
                        manager->problems, address, "watch",
                        "Failed to watch its files, changes there are seen late: %s",
                        g_strerror(-number));
                return false;
        }
        problems_resolve_function(manager->problems, address, "watch");
        if (number >= 0)
                g_hash_table_insert(manager->watches, key_copy(function->facts.key),
                                    GINT_TO_POINTER(number));
        return true;
}

/* What an earlier run of the daemon knew of this very device. */
static void restore_function(Manager *manager, Function *function) {
        const StateFunction *remembered;

        if (!manager->remembered)
                return;
        remembered = g_hash_table_lookup(manager->remembered, &function->facts.key);
        if (!remembered || remembered->inode != function->facts.inode)
                return;
        function->userspace_driver = remembered->userspace_driver;
        function->tainted = remembered->tainted;
        function->lock_why = g_strdup(remembered->lock_why);
        function->unplugging = remembered->unplugging;
}

/* What others keep for the function's address. */
static void attach_function(Manager *manager, Function *function) {
        restore_function(manager, function);
        inhibitors_attach(manager->inhibitors, function);
        operations_attach(manager->operations, function);
        sessions_attach(manager->sessions, function);
        leases_attach(manager->leases, function);
        function->emulated = config_emulates(manager->config, function->facts.key);
        if (function->unplugging)
                unplugs_resume(manager->unplugs, function);
}

/* The function, and those whose links its reading may have changed. */
void manager_queue_related(Manager *manager, Function *function) {
        manager_queue(manager, function);
        if (function->pf && !property_set_is_empty(&function->pf->changes))
                manager_queue(manager, function->pf);
        for (guint i = 0; function->vfs && i < function->vfs->len; i++) {
                Function *vf = function->vfs->pdata[i];

                if (!property_set_is_empty(&vf->changes))
                        manager_queue(manager, vf);
        }
}

static bool links_have(const GArray *links, PciKey vf) {
        for (guint i = 0; links && i < links->len; i++)
                if (g_array_index(links, VirtfnLink, i).vf == vf)
                        return true;
        return false;
}

/* A VF went before it was ever read, or was first read when its links had gone: its PF, which
 * counted it, is not told of otherwise. */
static void mark_lister(Manager *manager, PciKey vf) {
        const Function *function;

        inventory_foreach (manager->inventory, function)
                if (links_have(function->facts.virtfns, vf))
                        manager_mark_stale(manager, function->facts.key);
}

static void forget(Manager *manager, Function *function) {
        PciKey key = function->facts.key;
        gpointer number;
        Function *pf = function->pf, *other;
        bool was_pf = function->kind == FUNCTION_KIND_PF;

        if (function->published) {
                manager->published_count--;
                if (manager->observer)
                        manager->observer->removed(manager->observer_context, function);
        }
        unplugs_function_gone(manager->unplugs, function);
        manager_forget_unread(manager, key);
        if (g_hash_table_lookup_extended(manager->watches, &key, NULL, &number)) {
                watch_remove(manager->watch, GPOINTER_TO_INT(number));
                g_hash_table_remove(manager->watches, &key);
        }
        protected_files_forget(manager->closed, key);
        users_function_gone(manager->users, key);
        config_space_function_gone(manager->config_space, key);
        msi_source_function_gone(manager->msi_source, key);
        operations_forget(manager->operations, function);
        external_removals_function_gone(manager->external_removals);
        leases_function_gone(manager->leases, key);
        vf_tokens_function_gone(manager->vf_tokens, key);
        lost_overrides_function_gone(manager->lost_overrides, function);
        if (function->tainted || function->userspace_driver || function->lock_why)
                manager->state_dirty = true;
        if (function->lock_reasons != 0)
                manager->locked_count--;
        if (function->queued)
                g_ptr_array_remove_fast(manager->queue, function);
        /* On s390 its VFs may stay, and are then somebody else's. */
        for (guint i = 0; function->vfs && i < function->vfs->len; i++)
                manager_mark_stale(manager, ((Function *) function->vfs->pdata[i])->facts.key);

        inventory_remove(manager->inventory, function);

        (void) sd_event_source_set_enabled(manager->work, SD_EVENT_ONESHOT);
        if (pf) {
                manager_queue(manager, pf);
                manager_mark_stale(manager,
                                   pf->facts.key); /* its links went without an event for it */
        } else
                mark_lister(manager, key);
        if (was_pf)
                inventory_foreach (manager->inventory, other)
                        if (!property_set_is_empty(&other->changes))
                                manager_queue(manager, other);
}

/* `pf`, which had `before` links to VFs, was read again. */
static void check_num_vfs(Manager *manager, Function *pf, uint16_t before) {
        Violation violation = {
                .key = pf->facts.key,
                .operation = operation_to_string(OPERATION_SET_NUM_VFS),
                .reasons = pf->lock_reasons,
                .num_vfs_before = before,
                .num_vfs = pf->facts.n_virtfn_links,
        };

        /* What we do ourselves is not done behind our back. */
        if (pf->operation || violation.num_vfs == before || !lock_num_vfs_change_violates(pf))
                return;
        if (!pf->tainted) {
                pf->tainted = true;
                property_set_add(&pf->changes, FUNCTION_PROPERTY_TAINTED);
                manager->state_dirty = true;
        }
        manager_report(manager, &violation);
}

/* A PF lists VFs that it did not list before and that are not known yet: their own events will
 * come, but whoever looks now should find them. */
static void mark_new_vfs(Manager *manager, const GArray *before, const GArray *links) {
        for (guint i = 0; links && i < links->len; i++) {
                PciKey vf = g_array_index(links, VirtfnLink, i).vf;

                if (!inventory_get(manager->inventory, vf) && !links_have(before, vf))
                        manager_mark_stale(manager, vf);
        }
}

/* An answer that waits for its function to be read for the first time. */
typedef struct Arrival {
        uint64_t inode; /* of whom it speaks; 0: whoever is there, nothing could be found out */
        GRefString *override;
} Arrival;

void manager_arrival_free(gpointer data) {
        Arrival *arrival = data;

        g_ref_string_release(arrival->override);
        g_free(arrival);
}

/* Whether the value could be read. While something holds the device's lock, each attempt leaves a
 * process behind that waits for it: it is not tried again. */
static void note_override(Manager *manager, PciKey key, int error) {
        PciAddress address = pci_address_from_key(key);

        if (error < 0 && error != -ETIMEDOUT) {
                problems_report_function(manager->problems, address, "override",
                                         "Failed to read driver_override: %s", g_strerror(-error));
                retries_add(manager->overrides, key);
                return;
        }
        problems_resolve_function(manager->problems, address, "override");
        retries_drop(manager->overrides, key);
}

void manager_on_override(void *context, PciKey key, const OverrideAnswer *answer) {
        Manager *manager = context;
        Function *function = inventory_get(manager->inventory, key);

        if (errno_means_absent(answer->error)) {
                if (!function) {
                        manager_forget_unread(manager, key);
                        mark_lister(manager, key);
                }
                return; /* of one that is known its own events tell */
        }
        note_override(manager, key, answer->error);
        if (function && (answer->error < 0 || answer->inode == function->facts.inode)) {
                if (answer->error < 0)
                        return; /* what is known stays */
                inventory_set_driver_override(function, answer->value);
                manager_queue(manager, function);
                return;
        }

        Arrival *arrival = g_new(Arrival, 1);
        *arrival = (Arrival){ answer->inode,
                              g_ref_string_new_intern(answer->error < 0 ? "" : answer->value) };
        g_hash_table_replace(manager->arrivals, key_copy(key), arrival);
        manager_mark_stale(manager, key);
}

/* Gives `facts` their driver_override: as it is known, or as it was answered. Returns false when it
 * has to be asked for first. */
static bool complete_facts(Manager *manager, const Function *function, FunctionFacts *facts) {
        const Arrival *arrival = g_hash_table_lookup(manager->arrivals, &facts->key);
        GRefString *override = NULL;

        if (function)
                override = function->facts.driver_override;
        else if (arrival && (arrival->inode == 0 || arrival->inode == facts->inode))
                override = arrival->override;
        if (override) {
                g_ref_string_release(facts->driver_override);
                facts->driver_override = g_ref_string_acquire(override);
        }
        g_hash_table_remove(manager->arrivals, &facts->key);
        return override;
}

/* What is to be done about a function that has been read; `num_vfs` links to VFs and `driver` are
 * of before. */
static void add_or_update(Manager *manager, Function *function, bool is_new, uint16_t num_vfs,
                          const GRefString *driver) {
        if (is_new) {
                attach_function(manager, function);
                lost_overrides_function_came(manager->lost_overrides, function);
                return;
        }
        check_num_vfs(manager, function, num_vfs);
        /* Whoever binds it may have set the override through another mount of sysfs. */
        if (driver != function->facts.driver &&
            rate_limit_take(manager->bindings, function->facts.key))
                override_reader_ask(manager->override_reader, function->facts.key);
}

/* What is missing of a function that is known: `failure` kept something from being read, NULL for
 * nothing. */
static void note_reading(Manager *manager, Function *function, const FunctionReadFailure *failure) {
        PciKey key = function->facts.key;
        bool watched = watch_function(manager, function);

        if (failure) {
                manager_unread(manager, key, failure);
                return;
        }
        manager_read(manager, key, watched);
}

/* `asked`: by an event, and not because another function called for it. */
static void read_one(Manager *manager, PciKey key, bool asked) {
        g_auto(FunctionFacts) facts = { 0 };
        FunctionReadFailure failure = { 0 };
        FunctionKind kind = _FUNCTION_KIND_INVALID;
        Function *function = inventory_get(manager->inventory, key);
        const GRefString *driver = NULL;
        uint16_t num_vfs = 0;
        int r;

        g_hash_table_remove(manager->stale, &key);
        /* A function that is new is read when the answer is there. */
        if (!function && !g_hash_table_contains(manager->arrivals, &key)) {
                override_reader_ask(manager->override_reader, key);
                return;
        }

        r = function_read(key, function ? &function->facts : NULL, manager->names, &failure,
                          &facts);
        if (r < 0 && !errno_means_absent(r)) {
                manager_unread(manager, key, &failure); /* what is known stays */
                return;
        }
        if (function && (r < 0 || function->facts.inode != facts.inode)) {
                forget(manager, function);
                function = NULL;
        }
        if (r < 0) {
                manager_forget_unread(manager, key);
                if (g_hash_table_remove(manager->arrivals, &key))
                        mark_lister(manager, key);
                return;
        }
        if (!complete_facts(manager, function, &facts)) {
                override_reader_ask(manager->override_reader, key);
                return;
        }

        if (function) {
                kind = function->kind;
                num_vfs = function->facts.n_virtfn_links;
                driver = function->facts.driver;
        }
        mark_new_vfs(manager, function ? function->facts.virtfns : NULL, facts.virtfns);
        function = inventory_apply(manager->inventory, &facts);
        add_or_update(manager, function, kind == _FUNCTION_KIND_INVALID, num_vfs, driver);

        /* A VF has its link, and the PF's link to it was not seen: it is new as well, and the event
         * for the PF may have come before it or not come at all. */
        if (function->kind == FUNCTION_KIND_VF && (asked || kind != FUNCTION_KIND_VF) &&
            (!function->pf || function->index == VF_INDEX_UNKNOWN))
                manager_mark_stale(manager, function->facts.physfn);
        if (r == 0) {
                failure = (FunctionReadFailure){ users_function_changed(manager->users, function),
                                                 "vfio-dev and enable" };
                r = failure.error < 0;
        } else
                (void) users_function_changed(manager->users, function);
        leases_function_changed(manager->leases, function);
        config_space_function_changed(manager->config_space, function);
        msi_source_function_changed(manager->msi_source, function);
        manager_tell_unplugs(manager, function);
        manager_queue_related(manager, function);
        note_reading(manager, function, r > 0 ? &failure : NULL);
}

static int compare_keys_descending(gconstpointer a, gconstpointer b) {
        PciKey x = **(const PciKey *const *) a, y = **(const PciKey *const *) b;

        return (x < y) - (x > y);
}

void manager_read_stale(Manager *manager) {
        /* Reading a VF may call for its PF, and that for VFs not known yet: a few rounds at the
         * most, for a VF that is known and was called for calls for nothing. */
        for (unsigned round = 0; g_hash_table_size(manager->stale) > 0; round++) {
                guint n;
                g_autofree gpointer *keys = g_hash_table_get_keys_as_array(manager->stale, &n);

                /* VFs before their PF, which lies below: it then finds all of them, once. */
                g_autoptr(GArray) order = g_array_sized_new(FALSE, FALSE, sizeof(PciKey), n);
                qsort(keys, n, sizeof(*keys), compare_keys_descending);
                for (guint i = 0; i < n; i++)
                        g_array_append_vals(order, keys[i], 1);
                for (guint i = 0; i < n; i++) {
                        const PciKey *key = &g_array_index(order, PciKey, i);

                        if (g_hash_table_contains(manager->stale, key))
                                read_one(manager, *key, round == 0);
                }
        }
}

void manager_mark_all_stale(Manager *manager) {
        g_autoptr(GArray) keys = NULL;
        Function *function;
        int r;

        inventory_foreach (manager->inventory, function) {
                manager_mark_stale(manager, function->facts.key);
                override_reader_ask(manager->override_reader, function->facts.key);
        }
        r = sysfs_list_functions(&keys);
        if (r < 0) {
                manager_list_failed(manager, r);
                return;
        }
        manager_listed(manager);
        for (guint i = 0; i < keys->len; i++)
                manager_mark_stale(manager, g_array_index(keys, PciKey, i));
}

/* What the event says is not looked at: when it is a `remove`, the link that the function is read
 * by has gone already, or belongs to the next device at the address. */
static void on_uevent(void *context, PciKey key) {
        manager_mark_stale(context, key);
}

static void on_overrun(void *context) {
        log_full(LOG_WARNING, NULL, LOG_ID_OVERRUN,
                 "events were lost, all PCI functions are read again");
        manager_mark_all_stale(context);
}

const UeventsHandler manager_uevents_handler = { .event = on_uevent, .overrun = on_overrun };
