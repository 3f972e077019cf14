#include "daemon/function-reader.h"
#include "daemon/log.h"
#include "daemon/manager-internal.h"
#include "daemon/turn-meter.h"
#include "daemon/util.h"

#include <errno.h>
#include <malloc.h>
#include <string.h>
#include <systemd/sd-daemon.h>

#define PROBLEM_CONFIG   "configuration"
#define PROBLEM_RELEASED "released"

static int on_work(sd_event_source *source, void *userdata) {
        manager_read_stale(userdata);
        manager_settle(userdata);
        return 0;
}

static void on_watch_overflow(void *context) {
        Manager *manager = context;

        log_full(LOG_WARNING, NULL, LOG_ID_OVERRUN,
                 "changes of files were lost, all PCI functions are read again");
        closed_files_check(manager->closed);
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
                r = retries_new(manager->event, manager_on_relock, manager, &manager->relocks);
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

/* Whoever wonders why nothing is locked finds it in the status. */
static void show_release(Manager *manager) {
        if (manager->released)
                problems_report(manager->problems, PROBLEM_RELEASED,
                                "Nothing is locked since release-all opened everything: `systemctl "
                                "reload vfwardend` enforces again");
        else
                problems_resolve(manager->problems, PROBLEM_RELEASED);
}

/* Returns whether the records of an earlier run are lost though there was one. */
static bool load_state(Manager *manager, State **ret) {
        g_autofree char *reason = NULL;
        int r;

        r = state_load(manager->state_directory, ret, &reason);
        if (r < 0 && r != -ENOENT)
                log_warning("the state in %s cannot be used, locks are found by looking: %s",
                            manager->state_directory, reason);
        return r < 0 && r != -ENOENT;
}

/* Reads everything for the first time and takes over what an earlier run left. */
static void start(Manager *manager, bool started) {
        State *state;

        manager->earlier_lost = load_state(manager, &manager->earlier);
        state = manager->earlier;
        manager->released = state->released && !started;
        manager->state_dirty = state->released != manager->released;
        show_release(manager);
        manager->remembered = g_hash_table_new(g_int64_hash, g_int64_equal);
        for (guint i = 0; i < state->functions->len; i++) {
                StateFunction *record = &g_array_index(state->functions, StateFunction, i);

                g_hash_table_replace(manager->remembered, &record->key, record);
        }
        closed_files_adopt(manager->closed, state);
        inhibitors_adopt(manager->inhibitors, state);
        sessions_adopt(manager->sessions, state);
        leases_adopt(manager->leases, state);
        vf_tokens_adopt(manager->vf_tokens, state);
        fd_store_drop_untaken(manager->store);
        operations_adopt(manager->operations, state);
        nodes_undo(manager->nodes, state);

        manager_mark_all_stale(manager);
        manager_read_stale(manager); /* asks for the overrides ... */
        override_reader_finish(manager->override_reader);
        manager_read_stale(manager); /* ... and reads the rest */
        users_start(manager->users);
        manager_settle(manager);
        (void) sd_event_source_set_enabled(manager->work, SD_EVENT_OFF);

        manager_end_takeover(manager);
        manager_save_state(manager);
        /* What was read in the course of this. */
        malloc_trim(0);
}

/* At start. Without a daemon nothing would be guarded, and part of a configuration is none that
 * anybody wrote. */
static void load_config(Manager *manager) {
        g_autofree char *error = NULL;

        if (config_load(manager->config_directory, &manager->config, &error) >= 0)
                return;
        manager->config = config_new_default();
        log_full(LOG_ERR, NULL, LOG_ID_CONFIG, "%s", error);
        problems_report(manager->problems, PROBLEM_CONFIG,
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
        manager->closed = closed_files_new(manager->watch, manager->problems, manager->reserve,
                                           &manager_closed_files_handler, manager);
        manager->nodes = nodes_new(manager->problems);
        manager->store = fd_store_new(options->notify, options->fd_store_max);
        manager->inhibitors = inhibitors_new(event, manager->inventory, manager->store,
                                             manager_on_inhibitor_ended, manager);
        manager->operations = operations_new(event, manager->inventory, manager->closed,
                                             &manager_operations_handler, manager);
        manager->unplugs = unplugs_new(event, manager->inventory, manager->operations,
                                       &manager_unplugs_handler, manager);
        manager->children = children_new(event, &manager_children_handler, manager);
        manager->sessions =
                sessions_new(event, manager->children, manager->inventory, manager->store,
                             &(IoProgram){ .path = options->io_program, .user = options->io_user },
                             &manager_sessions_handler, manager);
        manager->leases = leases_new(event, manager->children, manager->inventory, manager->users,
                                     manager->store, &manager_leases_handler, manager);
        manager->vf_tokens = vf_tokens_new(event, manager->children, manager->inventory,
                                           manager->store, &manager_vf_tokens_handler, manager);
        r = outsiders_new(event, manager->inventory, &manager_outsiders_handler, manager,
                          &manager->outsiders);
        if (r < 0) {
                log_error("the sources of events cannot be set up: %s", g_strerror(-r));
                return r;
        }
        start(manager, options->started);

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
        children_free(manager->children);
        msi_source_free(manager->msi_source);
        outsiders_free(manager->outsiders);
        unplugs_free(manager->unplugs);
        operations_free(manager->operations);
        nodes_free(manager->nodes);
        inhibitors_free(manager->inhibitors);
        fd_store_free(manager->store);
        closed_files_free(manager->closed);
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
        retries_free(manager->relocks);
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

static void set_lock_why(Manager *manager, Function *function, char *why) {
        if (g_strcmp0(why, function->lock_why) != 0)
                manager->state_dirty = true;
        /* Without a lock the property is empty, too. */
        if (g_strcmp0(why ? why : "", function->lock_why ? function->lock_why : "") != 0)
                function->changes |= FUNCTION_PROPERTY_LOCK_WHY;
        g_free(function->lock_why);
        function->lock_why = why;
        manager_queue(manager, function);
}

/* What stood there before a lock or an unlock. */
typedef struct LockChange {
        Manager *manager;
        Function *function;
        char *why; /* NULL: no lock */
} LockChange;

static void undo_lock_change(void *context) {
        LockChange *change = context;

        set_lock_why(change->manager, change->function, g_steal_pointer(&change->why));
        change->function->changes &= ~(unsigned) FUNCTION_PROPERTY_LOCK_WHY;
}

static int change_lock(Manager *manager, Function *function, const char *why) {
        g_autofree char *before = NULL;
        LockChange change;
        int r;

        manager_settle(manager); /* what else there is to do is not this request's */
        change = (LockChange){ manager, function, g_strdup(function->lock_why) };
        set_lock_why(manager, function, g_strdup(why));
        r = manager_settle_request(manager, undo_lock_change, &change);
        before = change.why;
        return r;
}

int manager_lock(Manager *manager, Function *function, const char *why) {
        return strlen(why) > MANAGER_LOCK_WHY_MAX ? -EINVAL : change_lock(manager, function, why);
}

int manager_unlock(Manager *manager, Function *function) {
        return change_lock(manager, function, NULL);
}

typedef struct NewInhibitor {
        Manager *manager;
        uint64_t number;
} NewInhibitor;

static void undo_inhibitor(void *context) {
        const NewInhibitor *added = context;

        inhibitors_remove(added->manager->inhibitors, added->number);
}

int manager_inhibit(Manager *manager, PciKey key, const Inhibitor *inhibitor, int *ret_fd) {
        NewInhibitor added = { .manager = manager };
        _cleanup_(closep) int fd = -1;
        Function *function;
        int r;

        manager_settle(manager); /* what else there is to do is not this request's */
        r = inhibitors_add(manager->inhibitors, key, inhibitor, &added.number, &fd);
        if (r < 0)
                return r;
        manager->state_dirty = true;
        function = inventory_get(manager->inventory, key);
        if (function)
                manager_queue(manager, function);
        r = manager_settle_request(manager, undo_inhibitor, &added);
        if (r < 0)
                return r == -EDQUOT ? -ENOSPC : r; /* the disk's quota, not the user's */
        *ret_fd = take_fd(&fd);
        return 0;
}

char *manager_describe_failure(const Manager *manager, int error) {
        if (error == -EXFULL)
                return g_strdup(fd_store_error(error));
        return g_strdup_printf("Failed to save the state in %s: %s; nothing was changed",
                               manager->state_directory, g_strerror(-error));
}

void manager_foreach_inhibitor(const Manager *manager,
                               void (*visit)(void *context, PciKey key, const Inhibitor *inhibitor),
                               void *context) {
        inhibitors_foreach(manager->inhibitors, visit, context);
}

static void tell_enforcement(Manager *manager, bool before) {
        if (manager->observer && manager_enforces(manager) != before)
                manager->observer->enforcement_changed(manager->observer_context);
}

int manager_reload(Manager *manager, char **ret_error) {
        g_autoptr(Config) config = NULL;
        bool enforced = manager_enforces(manager);
        Function *function;
        int r;

        r = config_load(manager->config_directory, &config, ret_error);
        if (r < 0) {
                log_full(LOG_ERR, NULL, LOG_ID_CONFIG, "%s; the old configuration stays",
                         *ret_error);
                problems_report(manager->problems, PROBLEM_CONFIG,
                                "Failed to read the configuration: %s; what was in force before "
                                "stays so until the next reload",
                                *ret_error);
                return r;
        }

        problems_resolve(manager->problems, PROBLEM_CONFIG);
        config_free(manager->config);
        manager->config = g_steal_pointer(&config);
        manager->state_dirty |= manager->released;
        manager->released = false;
        show_release(manager);
        inventory_foreach (manager->inventory, function)
                function->emulated = config_emulates(manager->config, function->facts.key);
        manager_queue_all(manager);
        manager_settle(manager);
        tell_enforcement(manager, enforced);
        log_info("the configuration was read again");
        return 0;
}

/* The locks that were forgotten, in case that they have to be remembered again. */
typedef struct Release {
        Manager *manager;
        GPtrArray *changes; /* of LockChange*, owned */
        bool before;
} Release;

static void lock_change_free(gpointer data) {
        LockChange *change = data;

        g_free(change->why);
        g_free(change);
}

static void undo_release(void *context) {
        Release *release = context;

        release->manager->released = release->before;
        for (guint i = 0; i < release->changes->len; i++)
                undo_lock_change(release->changes->pdata[i]);
}

static void forget_locks(Manager *manager, GPtrArray *changes) {
        Function *function;

        inventory_foreach (manager->inventory, function) {
                LockChange *change;

                if (!function->lock_why)
                        continue;
                change = g_new(LockChange, 1);
                *change = (LockChange){ manager, function, g_strdup(function->lock_why) };
                g_ptr_array_add(changes, change);
                set_lock_why(manager, function, NULL);
        }
}

int manager_release_all(Manager *manager, GPtrArray **ret) {
        g_autoptr(GPtrArray) changes = g_ptr_array_new_with_free_func(lock_change_free);
        g_autoptr(GPtrArray) paths = NULL;
        Release release = { manager, changes, manager->released };
        bool enforced = manager_enforces(manager);
        Function *function;
        int r;

        manager_settle(manager); /* what else there is to do is not this request's */
        paths = closed_files_list(manager->closed);
        manager->released = true;
        manager->state_dirty = true;
        forget_locks(manager, changes);
        manager_queue_all(manager);
        r = manager_settle_request(manager, undo_release, &release);
        if (r < 0)
                return r;
        inventory_foreach (manager->inventory, function)
                closed_files_open_strays(manager->closed, function, paths);
        tell_enforcement(manager, enforced);
        show_release(manager);
        log_notice("%u files were opened again; nothing is enforced until a reload or restart",
                   paths->len);
        *ret = g_steal_pointer(&paths);
        return 0;
}

void manager_end_release(Manager *manager) {
        if (!manager->released)
                return;
        manager->released = false;
        manager->state_dirty = true;
        (void) manager_save_state(manager);
}
