#include "daemon/base/log.h"
#include "daemon/base/turn-meter.h"
#include "daemon/base/util.h"
#include "daemon/manager/manager-internal.h"
#include "daemon/sysfs/function-reader.h"

#include <errno.h>
#include <malloc.h>
#include <string.h>
#include <systemd/sd-daemon.h>

const StateSection *const manager_sections[] = {
        &protected_files_section, &functions_section,
        &inhibitors_section,      &operations_section,
        &device_nodes_section,    &sessions_section,
        &leases_section,          &vf_tokens_section,
        &openings_section,        NULL,
};

static int on_work(sd_event_source *source, void *userdata) {
        manager_read_stale(userdata);
        manager_apply(userdata);
        return 0;
}

static void on_watch_overflow(void *context) {
        Manager *manager = context;

        log_full(LOG_WARNING, NULL, LOG_ID_OVERRUN,
                 "changes of files were lost, all PCI functions are read again");
        protected_files_check(manager->closed);
        manager_mark_all_stale(manager);
}

static void on_problems_changed(void *context) {
        const Manager *manager = context;

        if (manager->observer)
                manager->observer->problems_changed(manager->observer_context);
}

static int add_retries(Manager *manager) {
        int r;

        r = problems_new(manager->event, on_problems_changed, manager, &manager->problems);
        if (r >= 0)
                r = retries_new(manager->event, manager_on_reread, manager, &manager->rereads);
        if (r >= 0)
                r = retries_new(manager->event, manager_on_override_due, manager,
                                &manager->overrides);
        if (r >= 0)
                r = rate_limit_new(manager->event, manager_on_override_due, manager,
                                   &manager->bindings);
        if (r >= 0)
                r = retries_new(manager->event, manager_on_relock, manager, &manager->relocks);
        if (r >= 0)
                r = retries_new(manager->event, manager_on_closing_due, manager,
                                &manager->closings);
        return r;
}

static int add_sources(Manager *manager, int receive_buffer) {
        int r;

        r = sd_event_add_defer(manager->event, &manager->work, on_work, manager);
        if (r < 0)
                return r;
        r = sd_event_source_set_priority(manager->work, UEVENTS_PRIORITY);
        if (r < 0)
                return r;
        r = sd_event_add_time(manager->event, &manager->check_timer, CLOCK_MONOTONIC, 0,
                              MANAGER_CHECK_ACCURACY_USEC, manager_on_check_timer, manager);
        if (r < 0)
                return r;
        r = sd_event_add_time(manager->event, &manager->status_timer, CLOCK_MONOTONIC, 0, 0,
                              manager_on_status_timer, manager);
        if (r < 0)
                return r;
        r = watch_new(manager->event, on_watch_overflow, manager, &manager->watch);
        if (r < 0)
                return r;
        r = users_new(manager->event, manager->inventory, &manager_users_handler, manager,
                      &manager->users);
        if (r < 0)
                return r;
        r = config_space_new(manager->event, manager->problems, &manager_config_space_handler,
                             manager, &manager->config_space);
        if (r < 0)
                return r;
        r = msi_source_new(manager->event, manager->watch, manager->problems,
                           manager_on_msi_changed, manager, &manager->msi_source);
        if (r < 0)
                return r;
        return uevents_new(manager->event, &manager_uevents_handler, manager, receive_buffer,
                           &manager->uevents);
}

/* The records of an earlier run. Returns 0, also when they are lost; or a negative errno when they
 * are there and cannot be read now: to begin without them would lose them for good, descriptors
 * that systemd keeps included, and a daemon that fails to start leaves all as it is. */
static int load_state(Manager *manager) {
        g_autofree char *reason = NULL;
        int r;

        reserve_open(manager->reserve);
        r = state_load(manager->state_directory, manager_sections, &manager->earlier, &reason);
        reserve_close(manager->reserve);
        if (state_is_out_of_reach(r)) {
                log_error("Failed to read the state in %s: %s", manager->state_directory, reason);
                return r;
        }
        manager->earlier_lost = r < 0 && r != -ENOENT;
        if (manager->earlier_lost)
                log_warning("the state in %s cannot be used, locks are found by looking: %s",
                            manager->state_directory, reason);
        return 0;
}

/* Processes of an earlier run that go on. To forget one would let others at its function. */
static int adopt_processes(Manager *manager) {
        int r = sessions_adopt(manager->sessions,
                               state_records(manager->earlier, &sessions_section));

        if (r >= 0)
                r = operations_adopt(manager->operations,
                                     state_records(manager->earlier, &operations_section));
        if (r < 0)
                log_error("Failed to look at the processes of an earlier run: %s", g_strerror(-r));
        return r;
}

/* Reads everything for the first time and takes over what an earlier run left. */
static int start(Manager *manager, bool started) {
        const State *state = manager->earlier;
        const GArray *functions = state_records(state, &functions_section);
        int r;

        manager->released = state_is_released(state) && !started;
        manager->state_dirty = state_is_released(state) != manager->released;
        manager_show_release(manager);
        manager->remembered = g_hash_table_new(g_int64_hash, g_int64_equal);
        for (guint i = 0; i < functions->len; i++) {
                StateFunction *record = &g_array_index(functions, StateFunction, i);

                g_hash_table_replace(manager->remembered, &record->key, record);
        }
        protected_files_adopt(manager->closed, state_records(state, &protected_files_section));
        inhibitors_adopt(manager->inhibitors, state_records(state, &inhibitors_section));
        r = adopt_processes(manager);
        if (r < 0)
                return r;
        leases_adopt(manager->leases, state_records(state, &leases_section));
        vf_tokens_adopt(manager->vf_tokens, state_records(state, &vf_tokens_section));
        fd_store_drop_untaken(manager->store);
        device_nodes_undo(manager->device_nodes, state_records(state, &device_nodes_section));

        manager_mark_all_stale(manager);
        manager_read_stale(manager); /* asks for the overrides ... */
        override_reader_finish(manager->override_reader);
        manager_read_stale(manager); /* ... and reads the rest */
        users_adopt(manager->users, state_records(state, &openings_section));
        users_start(manager->users);
        manager_apply(manager);
        (void) sd_event_source_set_enabled(manager->work, SD_EVENT_OFF);

        manager_end_takeover(manager);
        manager_save_state(manager);
        /* What was read in the course of this. */
        malloc_trim(0);
        return 0;
}

/* At start. Without a daemon nothing would be guarded, and part of a configuration is none that
 * anybody wrote. */
static void load_config(Manager *manager) {
        g_autofree char *error = NULL;

        if (config_load(manager->config_directory, &manager->config, &error) >= 0)
                return;
        manager->config = config_new_default();
        log_full(LOG_ERR, NULL, LOG_ID_CONFIG, "%s", error);
        problems_report(manager->problems, MANAGER_PROBLEM_CONFIG,
                        "Failed to read the configuration: %s; the defaults are in force until "
                        "the next reload",
                        error);
}

int manager_new(sd_event *event, const ManagerOptions *options, Manager **ret) {
        g_autoptr(Manager) manager = g_new0(Manager, 1);
        int r;

        /* First of all, so that its descriptors have low numbers: a limit that is lowered is one of
         * numbers. */
        manager->reserve = reserve_new();
        manager->notify = options->notify;
        manager->event = sd_event_ref(event);
        manager->turns = options->turns;
        manager->config_directory = g_strdup(options->config_directory);
        manager->state_directory = g_strdup(options->state_directory);
        manager->inventory = inventory_new();
        manager->lost_overrides = lost_overrides_new();
        manager->names = pci_names_new();
        manager->stale = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
        manager->watches = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
        manager->arrivals =
                g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, manager_arrival_free);
        manager->unknown = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
        manager->queue = g_ptr_array_new();
        manager->requests = g_ptr_array_new();
        manager->unverified = g_ptr_array_new();
        manager->unplug_calls = g_ptr_array_new();

        r = add_retries(manager);
        if (r >= 0)
                r = override_reader_new(event, manager_on_override, manager,
                                        &manager->override_reader);
        if (r < 0) {
                log_error("the sources of events cannot be set up: %s", g_strerror(-r));
                return r;
        }
        load_config(manager);
        /* Listening comes before looking, so that nothing falls between. */
        r = add_sources(manager, options->receive_buffer);
        if (r < 0) {
                log_error("the sources of events cannot be set up: %s", g_strerror(-r));
                return r;
        }
        manager->closed = protected_files_new(manager->watch, manager->problems, manager->reserve,
                                              &manager_protected_files_handler, manager);
        manager->device_nodes = device_nodes_new(manager->problems);
        manager->store = fd_store_new(options->notify, options->fd_store_max);
        manager->inhibitors = inhibitors_new(event, manager->inventory, manager->store,
                                             manager_on_inhibitor_ended, manager);
        manager->operations = operations_new(event, manager->inventory, manager->closed,
                                             &manager_operations_handler, manager);
        manager->children = children_new(event, &manager_children_handler, manager);
        manager->spawner = spawner_new(event, manager->problems, options->spawn_socket,
                                       &(SpawnProgram){ options->io_program, options->io_user });
        manager->sessions =
                sessions_new(event, manager->spawner, manager->children, manager->inventory,
                             manager->store, &manager_sessions_handler, manager);
        manager->leases =
                leases_new(event, manager->spawner, manager->children, manager->inventory,
                           manager->users, manager->store, &manager_leases_handler, manager);
        manager->vf_tokens =
                vf_tokens_new(event, manager->spawner, manager->children, manager->inventory,
                              manager->store, &manager_vf_tokens_handler, manager);
        r = unplugs_new(event, manager->inventory, manager->operations, manager->problems,
                        &manager_unplugs_handler, manager, &manager->unplugs);
        if (r >= 0)
                r = external_removals_new(event, manager->inventory,
                                          &manager_external_removals_handler, manager,
                                          &manager->external_removals);
        if (r < 0) {
                log_error("the sources of events cannot be set up: %s", g_strerror(-r));
                return r;
        }
        r = load_state(manager);
        if (r >= 0)
                r = start(manager, options->started);
        if (r < 0)
                return r;

        *ret = g_steal_pointer(&manager);
        return 0;
}

Manager *manager_free(Manager *manager) {
        if (!manager)
                return NULL;
        /* The closed files stay closed: a restart must not open them for a moment. */
        uevents_free(manager->uevents);
        vf_tokens_free(manager->vf_tokens);
        leases_free(manager->leases);
        users_free(manager->users);
        config_space_free(manager->config_space);
        sessions_free(manager->sessions);
        spawner_free(manager->spawner);
        children_free(manager->children);
        msi_source_free(manager->msi_source);
        external_removals_free(manager->external_removals);
        unplugs_free(manager->unplugs);
        operations_free(manager->operations);
        device_nodes_free(manager->device_nodes);
        inhibitors_free(manager->inhibitors);
        fd_store_free(manager->store);
        protected_files_free(manager->closed);
        watch_free(manager->watch);
        sd_event_source_disable_unref(manager->check_timer);
        sd_event_source_disable_unref(manager->status_timer);
        sd_event_source_disable_unref(manager->work);
        inventory_free(manager->inventory);
        lost_overrides_free(manager->lost_overrides);
        override_reader_free(manager->override_reader);
        g_hash_table_unref(manager->arrivals);
        g_hash_table_unref(manager->stale);
        g_hash_table_unref(manager->watches);
        g_ptr_array_unref(manager->queue);
        g_ptr_array_unref(manager->requests);
        g_ptr_array_unref(manager->unverified);
        g_ptr_array_unref(manager->unplug_calls);
        pci_names_free(manager->names);
        retries_free(manager->rereads);
        retries_free(manager->overrides);
        rate_limit_free(manager->bindings);
        retries_free(manager->relocks);
        retries_free(manager->closings);
        g_hash_table_unref(manager->unknown);
        g_clear_pointer(&manager->remembered, g_hash_table_unref);
        state_free(manager->earlier);
        reserve_free(manager->reserve);
        problems_free(manager->problems);
        config_free(manager->config);
        g_free(manager->config_directory);
        g_free(manager->state_directory);
        sd_event_unref(manager->event);
        g_free(manager);
        return NULL;
}

void manager_set_observer(Manager *manager, const ManagerObserver *observer, void *context) {
        manager->observer = observer;
        manager->observer_context = context;
}

uint32_t manager_function_handle(const Function *function) {
        return function_read_handle(function);
}

const Inventory *manager_inventory(const Manager *manager) {
        return manager->inventory;
}

void manager_get_turns(const Manager *manager, uint64_t *ret_longest, uint64_t *ret_longest_cpu) {
        *ret_longest = manager->turns->longest_usec;
        *ret_longest_cpu = manager->turns->longest_cpu_usec;
}

char **manager_problems(const Manager *manager) {
        return problems_list(manager->problems);
}

bool manager_enforces(const Manager *manager) {
        return manager->config->enforce && !manager->released;
}
