#include "daemon/manager/manager.h"

#include "daemon/base/log.h"
#include "daemon/base/turn-meter.h"
#include "daemon/guard/kernel-guard.h"
#include "daemon/guard/protected-files.h"
#include "daemon/manager/checks.h"
#include "daemon/manager/enforcement.h"
#include "daemon/manager/function-users.h"
#include "daemon/manager/inventory/inventory-keeper.h"
#include "daemon/manager/io-requests.h"
#include "daemon/manager/lasting-requests.h"
#include "daemon/manager/opening.h"
#include "daemon/manager/requests.h"
#include "daemon/manager/statistics.h"
#include "daemon/manager/status.h"
#include "daemon/manager/takeover.h"
#include "daemon/manager/unplug-calls.h"
#include "daemon/sysfs/function-reader.h"
#include "daemon/sysfs/watch.h"
#include "daemon/usage/users.h"
#include "policy/check.h"

#include <errno.h>
#include <malloc.h>
#include <string.h>

struct Manager {
        PartContext context; /* of the parts, and of all below */
        Settings *settings;
        Publisher *publisher;
        Parts *parts;
        StateKeeper *state;
        Apply *apply;
        InventoryKeeper *keeper;
        Requests *requests;
        UnplugCalls *unplug_calls;
        LastingRequests *lasting;
        Enforcement *enforcement;
        Checks *checks;
        Status *status;
        Takeover *takeover;
};

/* --- what the parts ask for */

static void host_queue(void *context, Function *function) {
        apply_queue(((const Manager *) context)->apply, function);
}

static void host_queue_related(void *context, Function *function) {
        apply_queue_related(((const Manager *) context)->apply, function);
}

static void host_mark_stale(void *context, PciKey key) {
        inventory_keeper_mark_stale(((const Manager *) context)->keeper, key);
}

static void host_read_stale(void *context) {
        inventory_keeper_read(((const Manager *) context)->keeper);
}

static void host_hurry(void *context) {
        inventory_keeper_hurry(((const Manager *) context)->keeper);
}

static void host_apply(void *context) {
        apply_now(((const Manager *) context)->apply);
}

static void host_apply_related(void *context, const Function *function) {
        (void) apply_related(((const Manager *) context)->apply, function);
}

static void host_queued_later(void *context) {
        apply_queued_later(((const Manager *) context)->apply);
}

static void host_record_changed(void *context) {
        apply_record_changed(((const Manager *) context)->apply);
}

static int host_save(void *context) {
        return state_keeper_save(((const Manager *) context)->state);
}

static char *host_describe_unsaved(void *context, int error) {
        return state_keeper_describe_failure(((const Manager *) context)->state, error);
}

static void host_users_changed(void *context, PciKey key) {
        function_users_update(&((const Manager *) context)->context, key);
}

static void host_tell(void *context, Function *function, unsigned news) {
        const char *reads;

        (void) parts_function_changed(((const Manager *) context)->parts, function, news, &reads);
}

static void host_violation(void *context, const Violation *violation) {
        const Manager *manager = context;
        Violation known = *violation;

        statistics_add_violation(&manager->context, violation);
        kernel_guards_fill_author(part_find(&manager->context, kernel_guard_part), &known);
        publisher_violation(manager->publisher, &known);
}

static void host_guards_changed(void *context) {
        publisher_guards_changed(((const Manager *) context)->publisher);
}

static void host_ask_release(void *context, Function *function, uint64_t deadline_usec) {
        publisher_ask_release(((const Manager *) context)->publisher, function, deadline_usec);
}

static const Config *host_config(void *context) {
        return settings_config(((const Manager *) context)->settings);
}

static void *host_find(void *context, const Part *part) {
        return parts_find(((const Manager *) context)->parts, part);
}

static const PartHost part_host = {
        .queue = host_queue,
        .queue_related = host_queue_related,
        .mark_stale = host_mark_stale,
        .read_stale = host_read_stale,
        .hurry = host_hurry,
        .apply = host_apply,
        .apply_related = host_apply_related,
        .queued_later = host_queued_later,
        .record_changed = host_record_changed,
        .save = host_save,
        .describe_unsaved = host_describe_unsaved,
        .users_changed = host_users_changed,
        .tell = host_tell,
        .violation = host_violation,
        .guards_changed = host_guards_changed,
        .ask_release = host_ask_release,
        .config = host_config,
        .find = host_find,
};

/* --- rounds of applying */

static void before_round(void *context) {
        inventory_keeper_read(((const Manager *) context)->keeper);
}

static void after_round(void *context) {
        Manager *manager = context;

        status_update(manager->status);
        checks_update(manager->checks);
        takeover_update(manager->takeover);
        requests_verify(manager->requests);
        unplug_calls_tell(manager->unplug_calls);
}

static const ApplyHandler apply_handler = { .before = before_round, .after = after_round };

/* --- life */

static void on_watch_overflow(void *context) {
        const Manager *manager = context;

        statistics_events_lost(&manager->context,
                               "changes of files were lost, all PCI functions are read again");
        protected_files_check(part_find(&manager->context, protected_files_part));
        inventory_keeper_mark_all_stale(manager->keeper);
}

static void on_manager_problems_changed(void *context) {
        publisher_problems_changed(((const Manager *) context)->publisher);
}

static int make_context(Manager *manager, sd_event *event, const ManagerOptions *options) {
        PartContext *context = &manager->context;
        int r;

        /* First of all, so that its descriptors have low numbers: a limit that is lowered is one of
         * numbers. */
        context->reserve = reserve_new();
        context->event = sd_event_ref(event);
        context->counters = statistics_new_counters();
        context->inventory = inventory_new();
        context->proc = options->proc;
        context->io_program = options->io_program;
        context->io_user = options->io_user;
        context->spawn_socket = options->spawn_socket;
        context->guard_directory = options->guard_directory;
        context->turns = options->turns;
        context->host = &part_host;
        context->host_context = manager;
        r = problems_new(event, on_manager_problems_changed, manager, &context->problems);
        if (r >= 0)
                r = watch_new(event, on_watch_overflow, manager, &context->watch);
        if (r < 0)
                return r;
        context->store = fd_store_new(options->notify, options->fd_store_max);
        context->children = children_new(event, &children_handler, context->problems);
        return 0;
}

/* Listening comes before looking, so that nothing falls between. */
static int make_objects(Manager *manager, const ManagerOptions *options) {
        const PartContext *context = &manager->context;
        int r;

        manager->settings = settings_new(options->config_directory, context->problems);
        manager->parts = parts_new(parts_table);
        manager->state = state_keeper_new(options->state_directory, context, manager->parts,
                                          manager->settings);
        r = publisher_new(context->event, &manager->publisher);
        if (r >= 0)
                r = apply_new(context, manager->settings, manager->state, manager->publisher,
                              &apply_handler, manager, &manager->apply);
        if (r >= 0)
                r = parts_make(manager->parts, context);
        if (r >= 0)
                r = inventory_keeper_new(manager->apply, manager->parts, manager->publisher,
                                         manager->settings, options->receive_buffer,
                                         &manager->keeper);
        if (r >= 0)
                r = checks_new(context->event, manager->parts, manager->state, &manager->checks);
        if (r >= 0)
                r = status_new(options->notify, manager->apply, manager->settings,
                               &manager->status);
        if (r < 0)
                return r;
        manager->takeover =
                takeover_new(manager->apply, manager->keeper, manager->parts, manager->settings);
        manager->requests = requests_new(manager->apply);
        manager->unplug_calls = unplug_calls_new(manager->apply);
        manager->lasting = lasting_requests_new(manager->apply);
        manager->enforcement = enforcement_new(manager->apply, manager->settings,
                                               manager->publisher, manager->lasting);
        return 0;
}

/* Reads everything for the first time. */
static void manager_look(Manager *manager, const State *earlier) {
        inventory_keeper_start(manager->keeper);
        parts_adopt_known(manager->parts, earlier);
        users_start(part_find(&manager->context, users_part));
        apply_now(manager->apply);
        apply_sleep(manager->apply);
        (void) state_keeper_save(manager->state);
        /* What was read in the course of this. */
        malloc_trim(0);
}

int manager_new(sd_event *event, const ManagerOptions *options, Manager **ret) {
        g_autoptr(Manager) manager = g_new0(Manager, 1);
        g_autoptr(State) earlier = NULL;
        int r;

        r = make_context(manager, event, options);
        if (r >= 0)
                r = make_objects(manager, options);
        if (r < 0) {
                log_error("the sources of events cannot be set up: %s", g_strerror(-r));
                return r;
        }
        r = takeover_adopt(manager->takeover, options->started, &earlier);
        if (r < 0)
                return r;
        manager_look(manager, earlier);
        *ret = g_steal_pointer(&manager);
        return 0;
}

/* The closed files stay closed: a restart must not open them for a moment. */
Manager *manager_free(Manager *manager) {
        PartContext *context;

        if (!manager)
                return NULL;
        context = &manager->context;
        status_free(manager->status);
        checks_free(manager->checks);
        enforcement_free(manager->enforcement);
        lasting_requests_free(manager->lasting);
        unplug_calls_free(manager->unplug_calls);
        requests_free(manager->requests);
        takeover_free(manager->takeover);
        inventory_keeper_free(manager->keeper);
        parts_free(manager->parts);
        apply_free(manager->apply);
        state_keeper_free(manager->state);
        settings_free(manager->settings);
        publisher_free(manager->publisher);
        children_free(context->children);
        fd_store_free(context->store);
        watch_free(context->watch);
        inventory_free(context->inventory);
        reserve_free(context->reserve);
        problems_free(context->problems);
        sd_event_unref(context->event);
        g_free(context->counters);
        g_free(manager);
        return NULL;
}

void manager_end_calls(Manager *manager) {
        static const char why[] = "the daemon ends; what was begun goes on";

        /* The users end the requests that wait for them. */
        parts_end_calls(manager->parts, why);
        requests_end_calls(manager->requests, why);
        unplug_calls_end_calls(manager->unplug_calls, why);
        lasting_requests_end_calls(manager->lasting, why);
        enforcement_end_calls(manager->enforcement, why);
}

/* --- the manager's face; what is meant is in manager.h */

void manager_set_observer(Manager *manager, const ManagerObserver *observer, void *context) {
        publisher_set_observer(manager->publisher, observer, context);
}

void manager_catch_up(Manager *manager) {
        if (!inventory_keeper_holds_events(manager->keeper))
                return;
        inventory_keeper_read(manager->keeper);
        apply_now(manager->apply);
}

uint32_t manager_function_handle(const Function *function) {
        return function_read_handle(function);
}

const Inventory *manager_inventory(const Manager *manager) {
        return manager->context.inventory;
}

const Counters *manager_counters(const Manager *manager) {
        return statistics_read(&manager->context);
}

void manager_ask_counts(Manager *manager, const Function *function) {
        statistics_ask_counts(&manager->context, function->facts.key);
}

const LoopCounters *manager_loop_counters(const Manager *manager) {
        return &manager->context.turns->counters;
}

char **manager_problems(const Manager *manager) {
        return problems_list(manager->context.problems);
}

void manager_set_problem(Manager *manager, const char *key, const char *text) {
        if (text)
                problems_report(manager->context.problems, key, "%s", text);
        else
                problems_resolve(manager->context.problems, key);
}

char **manager_guards(const Manager *manager) {
        return kernel_guards_list(part_find(&manager->context, kernel_guard_part));
}

bool manager_inhibits_sleep(const Manager *manager) {
        return settings_config(manager->settings)->inhibit_sleep;
}

bool manager_enforces(const Manager *manager) {
        return settings_enforce(manager->settings);
}

char *manager_describe_failure(const Manager *manager, int error) {
        return state_keeper_describe_failure(manager->state, error);
}

int manager_lock(Manager *manager, Function *function, const char *why) {
        return lasting_requests_lock(manager->lasting, function, why);
}

int manager_unlock(Manager *manager, Function *function) {
        return lasting_requests_unlock(manager->lasting, function);
}

int manager_inhibit(Manager *manager, PciKey key, const Inhibitor *inhibitor, int *ret_fd) {
        return lasting_requests_inhibit(manager->lasting, key, inhibitor, ret_fd);
}

bool manager_may_inhibit(const Manager *manager, uint32_t uid, size_t n_functions) {
        return lasting_requests_may_inhibit(manager->lasting, uid, n_functions);
}

void manager_inhibit_many(Manager *manager, const PciKey *keys, size_t n_keys,
                          const Inhibitor *inhibitor, ManagerInhibited *done, void *context) {
        lasting_requests_inhibit_many(manager->lasting, keys, n_keys, inhibitor, done, context);
}

void manager_foreach_inhibitor(const Manager *manager,
                               void (*visit)(void *context, PciKey key, const Inhibitor *inhibitor),
                               void *context) {
        lasting_requests_foreach_inhibitor(manager->lasting, visit, context);
}

void manager_reload(Manager *manager, ManagerDone *done, void *context) {
        enforcement_reload(manager->enforcement, done, context);
}

void manager_release_all(Manager *manager, ManagerReleased *done, void *context) {
        enforcement_release_all(manager->enforcement, done, context);
}

void manager_end_release(Manager *manager) {
        enforcement_end_release(manager->enforcement);
}

void manager_set_num_vfs(Manager *manager, Function *pf, uint16_t count, unsigned flags,
                         ManagerDone *done, void *context) {
        const RequestWish wish = { .operation = OPERATION_SET_NUM_VFS,
                                   .count = count,
                                   .flags = flags };

        requests_begin(manager->requests, pf, &wish, done, context);
}

void manager_set_autoprobe(Manager *manager, Function *pf, bool enable, ManagerDone *done,
                           void *context) {
        const RequestWish wish = { .operation = OPERATION_SET_AUTOPROBE, .autoprobe = enable };

        requests_begin(manager->requests, pf, &wish, done, context);
}

void manager_bind(Manager *manager, Function *function, const char *driver, unsigned flags,
                  ManagerDone *done, void *context) {
        const RequestWish wish = { .operation = OPERATION_BIND, .driver = driver, .flags = flags };

        requests_begin(manager->requests, function, &wish, done, context);
}

void manager_unbind(Manager *manager, Function *function, unsigned flags, ManagerDone *done,
                    void *context) {
        const RequestWish wish = { .operation = OPERATION_UNBIND, .flags = flags };

        requests_begin(manager->requests, function, &wish, done, context);
}

void manager_reset(Manager *manager, Function *function, unsigned flags, ManagerDone *done,
                   void *context) {
        const RequestWish wish = { .operation = OPERATION_RESET, .flags = flags };

        requests_begin(manager->requests, function, &wish, done, context);
}

void manager_unplug(Manager *manager, Function *function, uint64_t timeout_usec, bool insist,
                    unsigned flags, ManagerDone *done, void *context) {
        unplug_calls_begin(manager->unplug_calls, function, timeout_usec, insist, flags, done,
                           context);
}

int manager_cancel_unplug(Manager *manager, Function *function) {
        return unplug_calls_cancel(manager->unplug_calls, function);
}

int manager_refuse_unplug(Manager *manager, const Function *function, const char *why) {
        return unplug_calls_refuse(manager->unplug_calls, function, why);
}

uint64_t manager_unplug_deadline(const Manager *manager, const Function *function) {
        return unplug_calls_deadline(manager->unplug_calls, function);
}

void manager_open(Manager *manager, Function *function, const ManagerOpener *opener,
                  ManagerOpened *done, void *context) {
        opening_open(manager->apply, function, opener, done, context);
}

void manager_get_vf_token(Manager *manager, Function *pf, ManagerVfToken *done, void *context) {
        opening_get_vf_token(manager->apply, pf, done, context);
}

void manager_open_session(Manager *manager, Function *function, const ManagerIo *io,
                          ManagerSessionOpened *done, void *context) {
        io_requests_open_session(manager->apply, function, io, done, context);
}

void manager_access(Manager *manager, Function *function, const ManagerIo *io,
                    const ManagerAccess *access, ManagerAccessed *done, void *context) {
        io_requests_access(manager->apply, function, io, access, done, context);
}

void manager_let_go(Manager *manager, const Function *function, uint32_t uid, ManagerLetGo *done,
                    void *context) {
        io_requests_let_go(manager->apply, function, uid, done, context);
}
