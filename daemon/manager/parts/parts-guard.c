/* The parts that guard functions: what they ask of each other, and of sessions. */
#include "daemon/base/config.h"
#include "daemon/base/log.h"
#include "daemon/broker/sessions.h"
#include "daemon/guard/device-nodes.h"
#include "daemon/guard/inhibitors.h"
#include "daemon/guard/kernel-guard.h"
#include "daemon/guard/operations.h"
#include "daemon/guard/protected-files.h"
#include "daemon/guard/records.h"
#include "daemon/guard/unplug.h"
#include "daemon/manager/function-users.h"
#include "daemon/manager/manager-types.h"
#include "daemon/manager/parts/parts.h"
#include "daemon/sysfs/function-reader.h"
#include "policy/effect.h"
#include "policy/topology.h"

/* --- the kernel guard */

static void on_kernel_guards_changed(void *userdata) {
        const PartContext *context = userdata;

        context->host->guards_changed(context->host_context);
}

static void on_deed(void *userdata, const KernelGuardDeed *deed) {
        PciAddress address = pci_address_from_key(deed->key);
        g_autofree char *text = kernel_guard_describe_event(deed->event, deed->path, &deed->author);
        g_autofree char *more =
                deed->more > 0 ? g_strdup_printf(" (and %u times before)", deed->more) : NULL;

        log_full(LOG_WARNING, deed->has_key ? &address : NULL, LOG_ID_KERNEL_GUARD, "%s%s", text,
                 more ? more : "");
}

static void on_guard_loaded(void *userdata) {
        operations_tell_processes(part_find((const PartContext *) userdata, operations_part));
}

static const KernelGuardHandler kernel_guard_handler = {
        .changed = on_kernel_guards_changed,
        .deed = on_deed,
        .loaded = on_guard_loaded,
};

static int new_kernel_guard(const PartContext *context, void **ret) {
        *ret = kernel_guards_new(context->event, context->watch, context->problems,
                                 context->guard_directory, &kernel_guard_handler, (void *) context);
        return 0;
}

static void kernel_guard_function_gone(void *self, Function *function) {
        kernel_guards_forget(self, function->facts.key);
}

static void free_kernel_guard(void *self) {
        (void) kernel_guards_free(self);
}

const Part kernel_guard_part = {
        .name = "kernel-guard",
        .new = new_kernel_guard,
        .function_gone = kernel_guard_function_gone,
        .free = free_kernel_guard,
};

/* --- write-protected files */

static void on_file_changed(void *userdata, PciKey key) {
        const PartContext *context = userdata;
        Function *function = inventory_get(context->inventory, key);

        if (function)
                context->host->queue(context->host_context, function);
}

static void on_file_violation(void *userdata, PciKey key, LockFile file, const char *path,
                              unsigned mode) {
        const PartContext *context = userdata;
        const Function *function = inventory_get(context->inventory, key);
        const Violation violation = {
                .key = key,
                .operation = operation_to_string(lock_file_operation(file)),
                .reasons = function ? function->lock_reasons : 0,
                .file = lock_file_to_string(file),
                .path = path,
                .mode = mode,
        };

        context->host->violation(context->host_context, &violation);
}

static void on_record_changed(void *userdata) {
        const PartContext *context = userdata;

        context->host->record_changed(context->host_context);
}

static void on_file_marked(void *userdata, PciKey key, const char *path, uint64_t inode,
                           bool locked) {
        const PartContext *context = userdata;

        kernel_guards_set_file(part_find(context, kernel_guard_part), inode, path, key, locked);
}

static const ProtectedFilesHandler protected_files_handler = {
        .marked = on_file_marked,
        .violation = on_file_violation,
        .changed = on_file_changed,
        .record_changed = on_record_changed,
};

static int new_protected_files(const PartContext *context, void **ret) {
        *ret = protected_files_new(context->watch, context->problems, context->reserve,
                                   &protected_files_handler, (void *) context);
        return 0;
}

static int adopt_protected_files(void *self, const GArray *records) {
        protected_files_adopt(self, records);
        return 0;
}

static void record_protected_files(void *self, GArray *records) {
        protected_files_record(self, records);
}

static void protected_files_function_gone(void *self, Function *function) {
        protected_files_forget(self, function->facts.key);
}

static PartCheck protected_files_want_check(const void *self) {
        if (protected_files_failing(self))
                return PART_CHECK_SOON;
        return protected_files_any(self) ? PART_CHECK_SOMETIMES : PART_CHECK_NEVER;
}

static void check_protected_files(void *self) {
        protected_files_check(self);
}

static void free_protected_files(void *self) {
        (void) protected_files_free(self);
}

const Part protected_files_part = {
        .name = "protected-files",
        .section = &protected_files_section,
        .new = new_protected_files,
        .adopt = adopt_protected_files,
        .record = record_protected_files,
        .function_gone = protected_files_function_gone,
        .wants_check = protected_files_want_check,
        .check = check_protected_files,
        .free = free_protected_files,
};

/* --- inhibitors */

static void on_inhibitor_ended(void *userdata, const PciKey *keys, size_t n_keys) {
        const PartContext *context = userdata;

        context->host->record_changed(context->host_context);
        for (size_t i = 0; i < n_keys; i++) {
                Function *function = inventory_get(context->inventory, keys[i]);

                if (!function)
                        continue;
                context->host->queue(context->host_context, function);
                parts_tell_blockers(context, function);
        }
}

static int new_inhibitors(const PartContext *context, void **ret) {
        *ret = inhibitors_new(context->event, context->inventory, context->store,
                              on_inhibitor_ended, (void *) context);
        return 0;
}

static int adopt_inhibitors(void *self, const GArray *records) {
        inhibitors_adopt(self, records);
        return 0;
}

static void record_inhibitors(void *self, GArray *records) {
        inhibitors_record(self, records);
}

static void attach_inhibitors(void *self, Function *function) {
        inhibitors_attach(self, function);
}

static void free_inhibitors(void *self) {
        (void) inhibitors_free(self);
}

const Part inhibitors_part = {
        .name = "inhibitors",
        .section = &inhibitors_section,
        .new = new_inhibitors,
        .adopt = adopt_inhibitors,
        .record = record_inhibitors,
        .attach = attach_inhibitors,
        .free = free_inhibitors,
};

/* --- operations */

/* Who began it may be in the middle of a function's reading: what that function is must not change
 * now. A later run must find it, or it would let others at the function. */
static int on_operation_began(void *userdata, PciKey key, char **ret_why) {
        const PartContext *context = userdata;
        int r;

        context->host->record_changed(context->host_context);
        r = context->host->save(context->host_context);
        if (r < 0)
                *ret_why = context->host->describe_unsaved(context->host_context, r);
        else
                context->host->mark_stale(context->host_context, key);
        return r;
}

/* Its result is read before its caller gets an answer. */
static void on_operation_ending(void *userdata, PciKey key) {
        const PartContext *context = userdata;
        const Function *function = inventory_get(context->inventory, key);
        g_autoptr(GPtrArray) below = NULL;

        context->host->record_changed(context->host_context);
        context->host->mark_stale(context->host_context, key);
        for (guint i = 0; function && function->vfs && i < function->vfs->len; i++)
                context->host->mark_stale(context->host_context,
                                          ((const Function *) function->vfs->pdata[i])->facts.key);
        if (function)
                below = topology_below(function);
        for (guint i = 0; below && i < below->len; i++)
                context->host->mark_stale(context->host_context,
                                          ((const Function *) below->pdata[i])->facts.key);
        context->host->read_stale(context->host_context);
}

static void on_operation_ended(void *userdata, PciKey key) {
        const PartContext *context = userdata;
        Function *function = inventory_get(context->inventory, key);

        /* Its process is not to be looked for any more. */
        context->host->record_changed(context->host_context);
        unplugs_retry(part_find(context, unplugs_part), false);
        if (!function)
                return;
        context->host->queue(context->host_context, function);
        context->host->tell(context->host_context, function, PART_NEWS_OPERATION);
}

static void on_operations_refused(void *userdata) {
        unplugs_retry(part_find((const PartContext *) userdata, unplugs_part), false);
}

static void on_operation_starting(void *userdata, pid_t pid) {
        const PartContext *context = userdata;

        kernel_guards_exempt(part_find(context, kernel_guard_part), pid);
}

static const OperationsHandler operations_handler = {
        .starting = on_operation_starting,
        .began = on_operation_began,
        .ending = on_operation_ending,
        .ended = on_operation_ended,
        .refused = on_operations_refused,
};

static int new_operations(const PartContext *context, void **ret) {
        *ret = operations_new(context->event, context->inventory,
                              part_find(context, protected_files_part), &operations_handler,
                              (void *) context);
        return 0;
}

static int adopt_operations(void *self, const GArray *records) {
        return operations_adopt(self, records);
}

static void record_operations(void *self, GArray *records) {
        operations_record(self, records);
}

static void attach_operations(void *self, Function *function) {
        operations_attach(self, function);
}

static void operations_function_gone(void *self, Function *function) {
        operations_forget(self, function);
}

static PartCheck operations_want_check(const void *self) {
        return operations_any_refused(self) ? PART_CHECK_SOON : PART_CHECK_NEVER;
}

static void check_operations(void *self) {
        operations_retry_refused(self);
}

static void free_operations(void *self) {
        (void) operations_free(self);
}

const Part operations_part = {
        .name = "operations",
        .section = &operations_section,
        .new = new_operations,
        .adopt = adopt_operations,
        .record = record_operations,
        .attach = attach_operations,
        .function_gone = operations_function_gone,
        .wants_check = operations_want_check,
        .check = check_operations,
        .free = free_operations,
};

/* --- unplugs */

static void on_unplug_changed(void *userdata, Function *function) {
        const PartContext *context = userdata;

        context->host->queue(context->host_context, function);
}

/* A function of s390 that was taken by surprise answers nothing any more, although the kernel still
 * waits for its users. */
static void drain_session(const PartContext *context, const Function *function, uint64_t end_usec) {
        Sessions *sessions = part_find(context, sessions_part);

        if (function->facts.s390 && zpci_handle_is_disabled(function_read_handle(function)))
                sessions_function_gone(sessions, function->facts.key);
        else
                sessions_drain(sessions, function->facts.key, end_usec);
}

/* After a removal that cannot be cancelled, a session keeps the function for no longer than a guest
 * needs to wind down. */
static void on_unplug_entered(void *userdata, Function *function) {
        const PartContext *context = userdata;
        uint64_t end_usec = function->state == FUNCTION_STATE_REMOVING
                                    ? context->host->config(context->host_context)->drain_usec
                                    : SESSIONS_NO_END;
        g_autoptr(GPtrArray) below = NULL;

        if (function->state != FUNCTION_STATE_UNPLUG_REQUESTED &&
            function->state != FUNCTION_STATE_REMOVING)
                return;
        below = topology_marked(function, TOPOLOGY_MARK_USED);
        drain_session(context, function, end_usec);
        for (guint i = 0; below && i < below->len; i++)
                drain_session(context, below->pdata[i], end_usec);
        for (guint i = 0; function->vfs && i < function->vfs->len; i++)
                drain_session(context, function->vfs->pdata[i], end_usec);
}

/* What a removal does to each function that goes with another. */
#define TAKES_FROM_VFS (1U << OPERATION_UNBIND | 1U << OPERATION_REMOVE | 1U << OPERATION_POWER_OFF)

/* The holders of a function that goes with another. */
static void ask_release(const PartContext *context, Function *function, uint64_t deadline_usec) {
        if ((function_in_use(function) || (effect_inhibited(function) & TAKES_FROM_VFS)) &&
            (deadline_usec != 0 || function->state == FUNCTION_STATE_PRESENT))
                context->host->ask_release(context->host_context, function, deadline_usec);
}

/* The holders of the function, of its VFs and of all below it are notified at once, by the function
 * that they hold. When somebody else takes it away (there is no deadline then), they may have been
 * already. */
static void on_unplug_ask(void *userdata, Function *function, uint64_t deadline_usec) {
        const PartContext *context = userdata;
        g_autoptr(GPtrArray) below = NULL;

        context->host->ask_release(context->host_context, function, deadline_usec);
        for (guint i = 0; function->vfs && i < function->vfs->len; i++)
                ask_release(context, function->vfs->pdata[i], deadline_usec);
        below = topology_marked(function, TOPOLOGY_MARK_USED | TOPOLOGY_MARK_INHIBITS_REMOVE |
                                                  TOPOLOGY_MARK_INHIBITS_POWER_OFF);
        for (guint i = 0; below && i < below->len; i++)
                ask_release(context, below->pdata[i], deadline_usec);
}

static void on_unplug_close(void *userdata, Function *function, bool closed) {
        DeviceNodes *nodes = part_find((const PartContext *) userdata, device_nodes_part);

        if (closed)
                device_nodes_close(nodes, function);
        else
                device_nodes_open(nodes, function->facts.key);
}

static void on_unplug_end_sessions(void *userdata, Function *function) {
        sessions_function_gone(part_find((const PartContext *) userdata, sessions_part),
                               function->facts.key);
}

/* Written down before anything is done: see policy/unplug.h. Where that fails, its operation does
 * not begin either, which saves the same state. */
static void on_unplug_remember(void *userdata, Function *function, bool remember) {
        const PartContext *context = userdata;
        bool unbound = remember && function->unplug_asked && !unplug_has_driver(function);

        if (function->unplugging == remember && !unbound)
                return;
        g_clear_pointer(&function->unplug_asked, g_free);
        if (remember && !function->unplugging && !unbound)
                function->unplug_asked = unplug_users_text(function);
        function->unplugging = remember;
        context->host->record_changed(context->host_context);
        (void) context->host->save(context->host_context);
}

typedef struct UnplugLook {
        const PartContext *context;
        uint64_t look;
} UnplugLook;

static void on_unplug_looked(void *userdata, Function *function, int result, const char *message) {
        g_autofree UnplugLook *look = userdata;

        if (function)
                unplugs_looked(part_find(look->context, unplugs_part), function, look->look,
                               result);
}

static void on_unplug_look(void *userdata, Function *function, uint64_t number) {
        const PartContext *context = userdata;
        UnplugLook *look = g_new(UnplugLook, 1);

        *look = (UnplugLook){ context, number };
        function_uses_refresh(context, function, on_unplug_looked, look);
}

static const UnplugsHandler unplugs_handler = {
        .changed = on_unplug_changed,
        .entered = on_unplug_entered,
        .close = on_unplug_close,
        .end_sessions = on_unplug_end_sessions,
        .look = on_unplug_look,
        .remember = on_unplug_remember,
        .ask = on_unplug_ask,
};

static int new_unplugs(const PartContext *context, void **ret) {
        Unplugs *unplugs = NULL;
        int r = unplugs_new(context->event, context->inventory, part_find(context, operations_part),
                            context->problems, &unplugs_handler, (void *) context, &unplugs);

        *ret = unplugs;
        return r;
}

static void attach_unplugs(void *self, Function *function) {
        if (function->unplugging && !unplug_waits_for_others(function))
                unplugs_resume(self, function);
}

static int unplugs_hear(void *self, Function *function, unsigned news) {
        /* An unplug of what is above waits for the same users and inhibitors. */
        for (; function; function = function->parent)
                unplugs_function_changed(self, function);
        return 0;
}

static void unplugs_hear_of_end(void *self, Function *function) {
        unplugs_function_gone(self, function);
}

static void free_unplugs(void *self) {
        (void) unplugs_free(self);
}

const Part unplugs_part = {
        .name = "unplugs",
        .new = new_unplugs,
        .attach = attach_unplugs,
        .hears = PART_NEWS_READ | PART_NEWS_USERS | PART_NEWS_VF_USERS | PART_NEWS_OPERATION |
                 PART_NEWS_BLOCKERS,
        .function_changed = unplugs_hear,
        .function_gone = unplugs_hear_of_end,
        .free = free_unplugs,
};
