/* What other parts of the daemon tell the manager: of configuration space, MSIs, inhibitors,
 * operations and unplugs. Each marks what it concerns to be read or settled. */
#include "daemon/manager/manager-internal.h"

#include <errno.h>

void manager_tell_unplugs(Manager *manager, Function *function) {
        sessions_function_changed(manager->sessions, function);
        unplugs_function_changed(manager->unplugs, function);
        external_removals_function_changed(manager->external_removals, function);
}

static void on_pasid_found(void *context, PciKey key, const Pasid *pasid) {
        Manager *manager = context;
        Function *function = inventory_get(manager->inventory, key);

        if (!function)
                return;
        inventory_set_pasid(manager->inventory, function, pasid);
        if (!property_set_is_empty(&function->changes))
                manager_queue_related(manager, function);
}

void manager_on_msi_changed(void *context, PciKey key) {
        Manager *manager = context;
        Function *function = inventory_get(manager->inventory, key);
        g_auto(MsiEvidence) evidence = { 0 };

        if (!function || !function->facts.msix.present)
                return;
        msi_source_evidence(manager->msi_source, key, &evidence);
        inventory_set_msi(function, &evidence);
        if (!property_set_is_empty(&function->changes))
                manager_queue(manager, function);
}

static void on_msix_found(void *context, PciKey key, const Msix *msix) {
        Manager *manager = context;
        Function *function = inventory_get(manager->inventory, key);

        if (!function)
                return;
        inventory_set_msix(function, msix);
        if (!property_set_is_empty(&function->changes))
                manager_queue(manager, function);
        manager_on_msi_changed(manager, key);
}

const ConfigSpaceHandler manager_config_space_handler = {
        .pasid = on_pasid_found,
        .msix = on_msix_found,
};

void manager_on_inhibitor_ended(void *context, PciKey key) {
        Manager *manager = context;
        Function *function = inventory_get(manager->inventory, key);

        manager->state_dirty = true;
        if (function)
                manager_queue(manager, function);
        manager_apply(manager);
}

/* Who began it may be in the middle of a function's reading: what that function is must not change
 * now. */
static void on_operation_began(void *context, PciKey key) {
        Manager *manager = context;

        manager->state_dirty = true;
        (void) manager_save_state(manager); /* before it does anything: a later run must find it */
        manager_mark_stale(manager, key);
}

/* What came of it is read before anybody is told. */
static void on_operation_ending(void *context, PciKey key) {
        Manager *manager = context;
        const Function *function = inventory_get(manager->inventory, key);

        manager->state_dirty = true;
        manager_mark_stale(manager, key);
        for (guint i = 0; function && function->vfs && i < function->vfs->len; i++)
                manager_mark_stale(manager,
                                   ((const Function *) function->vfs->pdata[i])->facts.key);
        manager_read_stale(manager);
}

static void on_operation_ended(void *context, PciKey key) {
        Manager *manager = context;
        Function *function = inventory_get(manager->inventory, key);

        manager->state_dirty = true; /* its process is not to be looked for any more */
        (void) sd_event_source_set_enabled(manager->work, SD_EVENT_ONESHOT);
        unplugs_retry(manager->unplugs);
        if (!function)
                return;
        manager_queue(manager, function);
        manager_tell_unplugs(manager, function);
}

const OperationsHandler manager_operations_handler = {
        .began = on_operation_began,
        .ending = on_operation_ending,
        .ended = on_operation_ended,
};

static void on_unplug_changed(void *context, Function *function) {
        manager_queue(context, function);
}

/* A session is ours: where there is no way back, it does not keep the function for longer than a
 * guest needs to wind down. */
static void drain_sessions(Manager *manager, const Function *function, bool ends) {
        uint64_t end_usec = ends ? manager->config->drain_usec : SESSIONS_NO_END;

        sessions_drain(manager->sessions, function->facts.key, end_usec);
        for (guint i = 0; function->vfs && i < function->vfs->len; i++)
                sessions_drain(manager->sessions,
                               ((const Function *) function->vfs->pdata[i])->facts.key, end_usec);
}

/* Told at once, to the holders of the function and of its VFs; those hear of the VF that they hold.
 * When somebody else takes it away (there is no deadline then), they may have been told already. */
static void on_unplug_ask(void *context, Function *function, uint64_t deadline_usec) {
        Manager *manager = context;
        const ManagerObserver *observer = manager->observer;

        drain_sessions(manager, function, function->state == FUNCTION_STATE_REMOVING);
        if (!observer)
                return;
        observer->unplug_requested(manager->observer_context, function, deadline_usec);
        for (guint i = 0; function->vfs && i < function->vfs->len; i++)
                if (function_in_use(function->vfs->pdata[i]) &&
                    (deadline_usec != 0 ||
                     ((const Function *) function->vfs->pdata[i])->state == FUNCTION_STATE_PRESENT))
                        observer->unplug_requested(manager->observer_context,
                                                   function->vfs->pdata[i], deadline_usec);
}

/* Whether the nodes that are to be closed could be found. */
static void note_nodes(Manager *manager, const Function *function, int r) {
        PciAddress address = function_address(function);

        if (r >= 0) {
                problems_resolve_function(manager->problems, address, "nodes");
                retries_drop(manager->closings, function->facts.key);
                return;
        }
        problems_report_function(manager->problems, address, "nodes",
                                 "Failed to look at the device nodes to close to newcomers: %s",
                                 g_strerror(-r));
        retries_add(manager->closings, function->facts.key);
}

static void on_unplug_close(void *context, Function *function, bool closed) {
        Manager *manager = context;

        if (!closed) {
                note_nodes(manager, function, 0);
                manager->state_dirty |=
                        device_nodes_open(manager->device_nodes, function->facts.key);
                return;
        }
        note_nodes(manager, function,
                   device_nodes_plan(manager->device_nodes, manager->inventory, function));
        manager->state_dirty = true;
        /* What they were must be known to whoever opens them again, or nobody ever can. */
        if (manager_save_state(manager) < 0)
                device_nodes_open(manager->device_nodes, function->facts.key);
        else
                device_nodes_commit(manager->device_nodes);
}

void manager_on_closing_due(void *context, PciKey key) {
        Manager *manager = context;
        Function *function = inventory_get(manager->inventory, key);

        if (function)
                on_unplug_close(manager, function, true);
        else
                retries_drop(manager->closings, key);
}

static void on_unplug_end_sessions(void *context, Function *function) {
        sessions_function_gone(((const Manager *) context)->sessions, function->facts.key);
}

/* Written down before anything is done: see policy/unplug.h. */
static void on_unplug_remember(void *context, Function *function, bool remember) {
        Manager *manager = context;

        if (function->unplugging == remember)
                return;
        function->unplugging = remember;
        manager->state_dirty = true;
        (void) manager_save_state(manager); /* manager_unplug() saw to it that it can be */
}

const UnplugsHandler manager_unplugs_handler = {
        .changed = on_unplug_changed,
        .close = on_unplug_close,
        .end_sessions = on_unplug_end_sessions,
        .remember = on_unplug_remember,
        .ask = on_unplug_ask,
};

static void on_outside_refreshed(void *context, int result) {
        Manager *manager = context;

        manager_read_stale(manager);
        manager_apply(manager);
        if (result != -ECANCELED)
                external_removals_refreshed(manager->external_removals);
}

static void on_outside_refresh(void *context, const PciKey *keys, unsigned n_keys) {
        users_refresh(((Manager *) context)->users, keys, n_keys, on_outside_refreshed, context);
}

static void on_outside_begun(void *context, Function *function) {
        Manager *manager = context;

        unplugs_overtaken(manager->unplugs, function);
}

static void on_outside_changed(void *context, Function *function) {
        Manager *manager = context;

        unplugs_function_changed(manager->unplugs, function);
        if (!function->outside)
                unplugs_retry(manager->unplugs);
        manager_queue(manager, function);
}

const ExternalRemovalsHandler manager_external_removals_handler = {
        .refresh = on_outside_refresh,
        .begun = on_outside_begun,
        .changed = on_outside_changed,
};

/* A session, lease or token that has come or gone is to be found by the next daemon. */
static void on_kept_changed(void *context, PciKey key) {
        Manager *manager = context;

        manager->state_dirty = true;
        (void) sd_event_source_set_enabled(manager->work, SD_EVENT_ONESHOT);
        manager_on_users_changed(manager, key);
}

/* Else vfwarden-io would be seen for a moment as a user of its own. */
static void on_session_process_ended(void *context) {
        Manager *manager = context;

        users_drop_ended(manager->users);
}

const SessionsHandler manager_sessions_handler = {
        .changed = on_kept_changed,
        .process_ended = on_session_process_ended,
};

/* The process, as a user of the function or not, keeps it in use; whoever looks for the reason
 * finds this. */
static void on_child_hangs(void *context, const KilledChild *child) {
        Manager *manager = context;

        problems_report_function(manager->problems, pci_address_from_key(child->key), "process",
                                 "Failed to end process %d (%s): it hangs in the kernel",
                                 (int) child->pid, child->name);
}

static void on_child_released(void *context, PciKey key) {
        Manager *manager = context;

        problems_resolve_function(manager->problems, pci_address_from_key(key), "process");
}

const ChildrenHandler manager_children_handler = {
        .hangs = on_child_hangs,
        .released = on_child_released,
};

const LeasesHandler manager_leases_handler = { .changed = on_kept_changed };

static void on_refresh(void *context, PciKey pf, VfTokenRefreshed *done, void *done_context) {
        users_refresh(((const Manager *) context)->users, &pf, 1, done, done_context);
}

static bool is_open(void *context, PciKey key) {
        return users_device_is_open(((const Manager *) context)->users, key);
}

static bool is_node_of(void *context, PciKey key, const char *name) {
        return users_is_node_of(((const Manager *) context)->users, key, name);
}

const VfTokensHandler manager_vf_tokens_handler = {
        .changed = on_kept_changed,
        .refresh = on_refresh,
        .is_open = is_open,
        .is_node_of = is_node_of,
};
