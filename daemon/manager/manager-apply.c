#include "daemon/base/log.h"
#include "daemon/base/notify.h"
#include "daemon/manager/manager-internal.h"

#include <errno.h>

#define STATUS_DELAY_USEC (500 * 1000ULL)

/* How often the closed files are looked at although inotify said nothing: each network namespace
 * has a sysfs of its own, whose nodes share the mode bits and not the inodes. */
#define CHECK_INTERVAL_USEC (5 * 1000 * 1000ULL)

/* The same of files that could not be looked at or changed, doubled each time. */
#define CHECK_FAILING_USEC (100 * 1000ULL)

void manager_queue(Manager *manager, Function *function) {
        if (function->queued)
                return;
        function->queued = true;
        g_ptr_array_add(manager->queue, function);
        (void) sd_event_source_set_enabled(manager->work, SD_EVENT_ONESHOT);
}

void manager_queue_all(Manager *manager) {
        Function *function;

        inventory_foreach (manager->inventory, function)
                manager_queue(manager, function);
}

/* "userspace-driver, administrator" */
static char *reasons_text(unsigned reasons) {
        g_autoptr(GString) text = g_string_new(NULL);

        for (unsigned i = 0; i < LOCK_REASONS_MAX; i++)
                if (reasons & (1U << i))
                        g_string_append_printf(text, "%s%s", text->len > 0 ? ", " : "",
                                               lock_reason_to_string(1U << i));
        return g_string_free(g_steal_pointer(&text), FALSE);
}

/* When they differ from what was said last. */
static void log_reasons(const Function *function) {
        g_autofree char *text = NULL;
        PciAddress address = function_address(function);

        if (function->lock_reasons == function->published_lock_reasons)
                return;
        text = reasons_text(function->lock_reasons);
        if (function->lock_reasons != 0)
                log_full(LOG_INFO, &address, LOG_ID_LOCK, "locked: %s", text);
        else
                log_full(LOG_INFO, &address, LOG_ID_LOCK, "no longer locked");
}

/* vfio-pci refuses to take a PF whose VFs are enabled ("Cannot bind to PF with SR-IOV enabled",
 * EBUSY); VFs of its own come from the module parameter enable_sriov. Other drivers of the list are
 * less strict. Either way the VFs now depend on whoever drives the PF. */
static void warn_pf_with_vfs(const Function *pf) {
        PciAddress address = function_address(pf);

        log_full(LOG_WARNING, &address, LOG_ID_PF_WITH_VFS,
                 "this physical function has %u virtual functions enabled and is bound to the "
                 "userspace driver %s: they depend on the program that opens it",
                 function_num_vfs(pf), pf->facts.driver);
}

/* Whether the files that are to be closed could be found. */
static void note_plan(Manager *manager, const Function *function, int r) {
        PciAddress address = function_address(function);

        if (r < 0) {
                problems_report_function(manager->problems, address, "lock",
                                         "Failed to look at the files that are to be closed: %s",
                                         g_strerror(-r));
                retries_add(manager->relocks, function->facts.key);
                return;
        }
        problems_resolve_function(manager->problems, address, "lock");
        retries_drop(manager->relocks, function->facts.key);
}

static void judge(Manager *manager, Function *function) {
        unsigned reasons = lock_reasons(function, manager->config->userspace_drivers);
        unsigned appeared = reasons & ~function->lock_reasons;

        if ((reasons & LOCK_REASON_USERSPACE_DRIVER) && function_num_vfs(function) > 0 &&
            ((appeared & LOCK_REASON_USERSPACE_DRIVER) ||
             property_set_has(&function->changes, FUNCTION_PROPERTY_NUM_VFS)))
                warn_pf_with_vfs(function);
        if ((reasons & LOCK_REASON_USERSPACE_DRIVER) && !function->userspace_driver) {
                function->userspace_driver = true;
                property_set_add(&function->changes, FUNCTION_PROPERTY_USERSPACE_DRIVER);
                manager->state_dirty = true;
        }
        if (reasons != function->lock_reasons) {
                property_set_add(&function->changes, FUNCTION_PROPERTY_LOCK_REASONS);
                if ((reasons == 0) != (function->lock_reasons == 0)) {
                        property_set_add(&function->changes, FUNCTION_PROPERTY_LOCKED);
                        manager->locked_count += reasons != 0 ? 1U : -1U;
                }
                function->lock_reasons = reasons;
        }
        function->lock_files = lock_reasons_files(function, reasons);
        note_plan(manager, function,
                  protected_files_plan(manager->closed, function,
                                       manager_enforces(manager) ? function->lock_files : 0));
}

/* What an earlier run knew of functions that cannot be read yet. */
static void record_unknown(const Manager *manager, GArray *functions) {
        const GArray *earlier =
                manager->remembered ? state_records(manager->earlier, &functions_section) : NULL;

        for (guint i = 0; earlier && i < earlier->len; i++) {
                const StateFunction *record = &g_array_index(earlier, StateFunction, i);
                StateFunction copy = *record;

                if (inventory_get(manager->inventory, record->key))
                        continue;
                copy.lock_why = g_strdup(record->lock_why);
                g_array_append_val(functions, copy);
        }
}

/* Saving must work, too, when all descriptors are used up. */
static int save_state(const Manager *manager, const State *state) {
        int r = state_save(manager->state_directory, state);

        if (!reserve_helps(r))
                return r;
        reserve_open(manager->reserve);
        r = state_save(manager->state_directory, state);
        reserve_close(manager->reserve);
        return r;
}

static State *record_state(Manager *manager) {
        State *state = state_new(manager_sections);
        GArray *functions = state_records(state, &functions_section);
        Function *function;

        state_set_released(state, manager->released);
        protected_files_record(manager->closed, state_records(state, &protected_files_section));
        inhibitors_record(manager->inhibitors, state_records(state, &inhibitors_section));
        operations_record(manager->operations, state_records(state, &operations_section));
        device_nodes_record(manager->device_nodes, state_records(state, &device_nodes_section));
        sessions_record(manager->sessions, state_records(state, &sessions_section));
        leases_record(manager->leases, state_records(state, &leases_section));
        vf_tokens_record(manager->vf_tokens, state_records(state, &vf_tokens_section));
        users_record(manager->users, state_records(state, &openings_section));
        record_unknown(manager, functions);
        inventory_foreach (manager->inventory, function) {
                if (!function->userspace_driver && !function->tainted && !function->lock_why &&
                    !function->unplugging)
                        continue;
                StateFunction record = {
                        .key = function->facts.key,
                        .inode = function->facts.inode,
                        .lock_why = g_strdup(function->lock_why),
                        .userspace_driver = function->userspace_driver,
                        .tainted = function->tainted,
                        .unplugging = function->unplugging,
                };
                g_array_append_val(functions, record);
        }
        return state;
}

int manager_save_state(Manager *manager) {
        g_autoptr(State) state = NULL;
        int r;

        if (!manager->state_dirty && !protected_files_dirty(manager->closed))
                return 0;

        state = record_state(manager);
        r = save_state(manager, state);
        if (r == -ENOENT && state_make_directory(manager->state_directory) >= 0)
                r = save_state(manager, state);
        if (r < 0 && !manager->state_failed)
                log_error(
                        "the state cannot be saved in %s, it is tried again with every change: %s",
                        manager->state_directory, g_strerror(-r));
        if (r < 0)
                problems_report(
                        manager->problems, "state",
                        "Failed to save the state in %s: %s; what must outlive the daemon is "
                        "refused, and own modes of files since then end with it",
                        manager->state_directory, g_strerror(-r));
        else
                problems_resolve(manager->problems, "state");
        manager->state_failed = r < 0;
        manager->state_dirty = r < 0;
        return r;
}

/* What sessions say comes from the driver, the configuration and the session there is: it is
 * compared here, with what clients were told, and nowhere else. */
static void note_io_changes(Function *function) {
        const char *backend = function_io_backend(function);
        uint16_t max_store_block = function_io_max_store_block(function);
        bool relaxed = function_io_relaxed(function);

        if (!g_str_equal(backend, function->published_backend))
                property_set_add(&function->changes, FUNCTION_PROPERTY_IO_BACKEND);
        if (max_store_block != function->published_max_store_block)
                property_set_add(&function->changes, FUNCTION_PROPERTY_IO_MAX_STORE_BLOCK);
        if (relaxed != function->published_relaxed)
                property_set_add(&function->changes, FUNCTION_PROPERTY_IO_RELAXED);
        g_strlcpy(function->published_backend, backend, sizeof(function->published_backend));
        function->published_max_store_block = max_store_block;
        function->published_relaxed = relaxed;
}

static void publish(Manager *manager, Function *function) {
        PropertySet changes;

        note_io_changes(function);
        changes = function->changes;
        /* A request can be taken back, and a reason can come and go between two rounds of applying.
         */
        if (function->lock_reasons == function->published_lock_reasons) {
                property_set_remove(&changes, FUNCTION_PROPERTY_LOCK_REASONS);
                property_set_remove(&changes, FUNCTION_PROPERTY_LOCKED);
        }
        function->published_lock_reasons = function->lock_reasons;
        /* An unplug can begin and end between two rounds of applying. */
        if (function->state == function->published_state)
                property_set_remove(&changes, FUNCTION_PROPERTY_STATE);
        function->published_state = function->state;
        /* So can a use: one who was to get it did not, for another has it. */
        if (function_in_use(function) == function->published_in_use)
                property_set_remove(&changes, FUNCTION_PROPERTY_IN_USE);
        function->published_in_use = function_in_use(function);
        property_set_clear(&function->changes);
        if (!function->published) {
                function->published = true;
                manager->published_count++;
                if (manager->observer)
                        manager->observer->added(manager->observer_context, function);
        } else if (!property_set_is_empty(&changes)) {
                if (manager->observer)
                        manager->observer->changed(manager->observer_context, function, &changes);
        }
}

/* Tells systemd, a moment later and once for all that happened until then: sd_notify(3) waits for
 * systemd to take the message, and a storm must not wait for it a thousand times. */
int manager_on_status_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        const Manager *manager = userdata;
        unsigned n_problems = problems_count(manager->problems);
        g_autofree char *problems =
                n_problems == 0 ? g_strdup("") : g_strdup_printf(", %u problems", n_problems);

        (void) notify_send(manager->notify, "STATUS=Watching %u PCI functions, %u locked%s%s",
                           inventory_count(manager->inventory), manager->locked_count,
                           manager_enforces(manager) ? "" : ", enforcing nothing", problems);
        return 0;
}

/* Lets the timer run out in `usec` at the latest. */
static void start_timer(sd_event_source *timer, uint64_t usec) {
        uint64_t now = 0, due = 0;
        int enabled = SD_EVENT_OFF;

        (void) sd_event_source_get_enabled(timer, &enabled);
        (void) sd_event_source_get_time(timer, &due);
        (void) sd_event_now(sd_event_source_get_event(timer), CLOCK_MONOTONIC, &now);
        if (enabled != SD_EVENT_OFF && due <= now + usec)
                return;
        (void) sd_event_source_set_time(timer, now + usec);
        (void) sd_event_source_set_enabled(timer, SD_EVENT_ONESHOT);
}

static bool is_failing(const Manager *manager) {
        return protected_files_failing(manager->closed) ||
               device_nodes_failing(manager->device_nodes) ||
               problems_has(manager->problems, MANAGER_PROBLEM_DESCRIPTORS);
}

/* While something is closed, or could not be saved; soon if it is not as it should be. */
static void check_later(Manager *manager) {
        if (is_failing(manager))
                start_timer(manager->check_timer, MAX(manager->check_usec, CHECK_FAILING_USEC));
        else if (protected_files_any(manager->closed) || manager->state_failed)
                start_timer(manager->check_timer, CHECK_INTERVAL_USEC);
}

int manager_on_check_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        Manager *manager = userdata;

        manager_check_descriptors(manager);
        protected_files_check(manager->closed);
        if (device_nodes_failing(manager->device_nodes)) {
                device_nodes_retry(manager->device_nodes);
                manager->state_dirty |= !device_nodes_failing(manager->device_nodes);
        }
        (void) manager_save_state(manager);
        if (!is_failing(manager))
                manager->check_usec = 0;
        else
                manager->check_usec =
                        CLAMP(2 * manager->check_usec, CHECK_FAILING_USEC, CHECK_INTERVAL_USEC);
        check_later(manager);
        return 0;
}

static void judge_all(Manager *manager, const GPtrArray *queue) {
        for (guint i = 0; i < queue->len; i++)
                judge(manager, queue->pdata[i]);
}

/* Takes the queue; what is true of a VF can be a reason of its PF: that it is used, or that
 * something is inhibited. */
static GPtrArray *take_queue(Manager *manager) {
        GPtrArray *queue;

        manager_note_unknown(manager);
        queue = manager->queue;
        for (guint i = 0, n = queue->len; i < n; i++) {
                Function *pf = ((const Function *) queue->pdata[i])->pf;

                if (pf && !pf->queued) {
                        pf->queued = true;
                        g_ptr_array_add(queue, pf);
                }
        }
        manager->queue = g_ptr_array_new();
        g_ptr_array_sort(queue, function_compare);
        return queue;
}

void manager_apply(Manager *manager) {
        (void) manager_apply_request(manager, NULL, NULL);
}

int manager_apply_request(Manager *manager, ManagerUndo *undo, void *context) {
        g_autoptr(GPtrArray) queue = take_queue(manager);
        int r;

        judge_all(manager, queue);
        /* Before anything is closed: see protected-files.h. What events ask for is closed all the
         * same. A device that is taken from under its user is worse than a file that a later daemon
         * opens with the kernel's mode. */
        r = manager_save_state(manager);
        if (r < 0 && undo) {
                undo(context);
                judge_all(manager, queue);
        }
        for (guint i = 0; i < queue->len; i++)
                log_reasons(queue->pdata[i]);
        protected_files_commit(manager->closed);
        for (guint i = 0; i < queue->len; i++) {
                Function *function = queue->pdata[i];
                unsigned files = protected_files_mask(manager->closed, function->facts.key);

                if (files != function->protected_files)
                        property_set_add(&function->changes, FUNCTION_PROPERTY_PROTECTED_FILES);
                function->protected_files = files;
                function->queued = false;
        }
        (void) manager_save_state(manager);

        /* New ones first: a PF's change names VFs that must exist by then. */
        for (guint i = 0; i < queue->len; i++)
                if (!((Function *) queue->pdata[i])->published)
                        publish(manager, queue->pdata[i]);
        for (guint i = 0; i < queue->len; i++)
                publish(manager, queue->pdata[i]);
        if (manager->observer && manager->published_count != manager->told_count)
                manager->observer->count_changed(manager->observer_context);
        manager->told_count = manager->published_count;
        start_timer(manager->status_timer, STATUS_DELAY_USEC);
        check_later(manager);
        manager_end_takeover(manager);
        manager_verify_requests(manager);
        manager_tell_unplug_calls(manager);
        return r;
}

void manager_report(Manager *manager, const Violation *violation) {
        PciAddress address = pci_address_from_key(violation->key);
        g_autofree char *reasons = reasons_text(violation->reasons);

        if (violation->file)
                log_full(LOG_WARNING, &address, LOG_ID_VIOLATION,
                         "%s got write permission (mode %04o) although %s is "
                         "locked (%s); closed again",
                         violation->path, violation->mode, violation->operation, reasons);
        else
                log_full(LOG_WARNING, &address, LOG_ID_VIOLATION,
                         "the number of virtual functions went from %u to %u "
                         "although %s is locked (%s)",
                         violation->num_vfs_before, violation->num_vfs, violation->operation,
                         reasons);
        if (manager->observer)
                manager->observer->violation(manager->observer_context, violation);
}

static void on_closed_changed(void *context, PciKey key) {
        Manager *manager = context;
        Function *function = inventory_get(manager->inventory, key);

        if (function)
                manager_queue(manager, function);
}

static void on_violation(void *context, PciKey key, LockFile file, const char *path,
                         unsigned mode) {
        Manager *manager = context;
        const Function *function = inventory_get(manager->inventory, key);
        Violation violation = {
                .key = key,
                .operation = operation_to_string(lock_file_operation(file)),
                .reasons = function ? function->lock_reasons : 0,
                .file = lock_file_to_string(file),
                .path = path,
                .mode = mode,
        };

        manager_report(manager, &violation);
}

const ProtectedFilesHandler manager_protected_files_handler = {
        .violation = on_violation,
        .changed = on_closed_changed,
};
