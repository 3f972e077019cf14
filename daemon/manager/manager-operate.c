/* The guarded operations: asked, refused or done by a worker, and looked at afterwards. */
#include "daemon/base/log.h"
#include "daemon/manager/manager-internal.h"
#include "policy/vfio-driver.h"

#include <errno.h>
#include <string.h>

/* How long the inventory may take to show what the kernel has done. */
#define VERIFY_TIMEOUT_USEC (2 * 1000 * 1000ULL)

typedef struct Request {
        Manager *manager;
        PciKey key;
        uint64_t inode;
        Operation operation;
        uint16_t count;     /* set-num-vfs: what is to be there afterwards */
        bool autoprobe;     /* set-autoprobe */
        GRefString *driver; /* bind: a name, or "" for any; unbind: "" */
        unsigned flags;     /* for check() */
        ManagerDone *done;
        void *context;
        sd_event_source *patience; /* while it is in the manager's `unverified` */
} Request;

static Request *request_new(Manager *manager, const Function *function, Operation operation,
                            ManagerDone *done, void *context) {
        Request *request = g_new0(Request, 1);

        request->manager = manager;
        request->key = function->facts.key;
        request->inode = function->facts.inode;
        request->operation = operation;
        request->driver = g_ref_string_new_intern("");
        request->done = done;
        request->context = context;
        g_ptr_array_add(manager->requests, request);
        return request;
}

/* Tells and frees. */
static void request_end(Request *request, int result, const char *message) {
        g_ptr_array_remove_fast(request->manager->requests, request);
        request->done(request->context, result, message);
        sd_event_source_disable_unref(request->patience);
        g_ref_string_release(request->driver);
        g_free(request);
}

/* Whether the inventory shows what was asked for; `*ret_found` says what it shows instead. */
static bool verify(const Request *request, const Function *function, char **ret_found) {
        switch (request->operation) {
        case OPERATION_SET_NUM_VFS:
                *ret_found = g_strdup_printf("%u virtual functions, %u of them known",
                                             function_num_vfs(function),
                                             function->vfs ? function->vfs->len : 0);
                return function_num_vfs(function) == request->count &&
                       (function->vfs ? function->vfs->len : 0) == request->count;
        case OPERATION_SET_AUTOPROBE:
                *ret_found = g_strdup("the value of before");
                return function->facts.drivers_autoprobe == request->autoprobe;
        case OPERATION_BIND:
        case OPERATION_UNBIND:
                *ret_found = function->facts.driver[0] != '\0'
                                     ? g_strdup_printf("the driver '%s'", function->facts.driver)
                                     : g_strdup("no driver");
                if (request->operation == OPERATION_BIND && request->driver[0] == '\0')
                        return function->facts.driver[0] != '\0';
                return request->driver == function->facts.driver;
        default:
                *ret_found = NULL;
                return true;
        }
}

/* Whether the very device that the request is about is still there. */
static bool function_is_there(const Request *request) {
        const Function *function = inventory_get(request->manager->inventory, request->key);

        return function && function->facts.inode == request->inode;
}

/* Ends the request if the inventory shows what was asked for, or cannot show it any more. */
static bool request_verify(Request *request, bool last_time) {
        const Function *function = inventory_get(request->manager->inventory, request->key);
        g_autofree char *found = NULL, *message = NULL;

        if (!function_is_there(request)) {
                request_end(request, -ENODEV, "the function has gone meanwhile");
                return true;
        }
        if (verify(request, function, &found)) {
                request_end(request, 0, NULL);
                return true;
        }
        if (!last_time)
                return false;
        message = g_strdup_printf("the kernel took %s, but the function has %s",
                                  operation_to_string(request->operation), found);
        request_end(request, -EIO, message);
        return true;
}

void manager_verify_requests(Manager *manager) {
        for (guint i = manager->unverified->len; i > 0; i--) {
                Request *request = manager->unverified->pdata[i - 1];

                if (request_verify(request, false))
                        g_ptr_array_remove_index(manager->unverified, i - 1);
        }
}

static int on_impatience(sd_event_source *source, uint64_t usec, void *userdata) {
        Request *request = userdata;

        g_ptr_array_remove(request->manager->unverified, request);
        (void) request_verify(request, true);
        return 0;
}

/* New VFs are read in a moment: waits for them, but not for ever. */
static void wait_for_inventory(Request *request) {
        Manager *manager = request->manager;

        if (sd_event_add_time_relative(manager->event, &request->patience, CLOCK_MONOTONIC,
                                       VERIFY_TIMEOUT_USEC, 0, on_impatience, request) < 0) {
                (void) request_verify(request, true);
                return;
        }
        g_ptr_array_add(manager->unverified, request);
}

/* What the kernel's error means, where its number does not tell a person. */
static char *failure_text(const Request *request, int result, const char *path) {
        const Function *function = inventory_get(request->manager->inventory, request->key);
        const char *name = operation_to_string(request->operation);

        if (result == -ENOENT && path && g_str_has_suffix(path, "/bind"))
                return g_strdup_printf("%s failed: there is no driver '%s'; is its module loaded?",
                                       name, request->driver);
        /* ENOENT, or EIO of older kernels (sriov_numvfs_store() in drivers/pci/iov.c). */
        if (request->operation == OPERATION_SET_NUM_VFS &&
            (result == -ENOENT || function->facts.driver[0] == '\0'))
                return g_strdup_printf("%s failed: it has no driver that makes virtual functions",
                                       name);
        return g_strdup_printf("%s failed: %s: %s", name, path ? path : "the process",
                               g_strerror(-result));
}

static void on_done(void *context, int result, const char *path) {
        Request *request = context;
        const char *name = operation_to_string(request->operation);
        g_autofree char *message = NULL;

        if (result < 0 && !function_is_there(request)) {
                request_end(request, -ENODEV, "the function has gone meanwhile");
                return;
        }
        if (result == -ETIMEDOUT)
                message = g_strdup_printf("%s timed out; it goes on, and is shown as in progress",
                                          name);
        else if (result < 0)
                message = failure_text(request, result, path);
        if (message) {
                request_end(request, result == -ETIMEDOUT ? result : -EIO, message);
                return;
        }
        manager_apply(request->manager);
        if (!request_verify(request, false))
                wait_for_inventory(request);
}

/* What is being done to the function or something related, for the error of who comes second. */
static char *busy_text(const Manager *manager, const Function *function) {
        g_autoptr(GPtrArray) related = check_related(manager->inventory, function);
        char address[PCI_ADDRESS_STRING_MAX];

        for (guint i = 0; i < related->len; i++) {
                const Function *other = related->pdata[i];
                const RunningOperation *running = other->operation;

                if (!running && other->outside && other->outside->subject == other->facts.key)
                        running = &other->outside->running;
                if (running)
                        return g_strdup_printf(
                                "%s of %s is in progress (process %u)", running->name,
                                pci_address_format(function_address(other), address), running->pid);
        }
        return NULL;
}

static Plan *make_plan(const Request *request, Function *function) {
        bool userspace;

        switch (request->operation) {
        case OPERATION_SET_NUM_VFS:
                return plan_set_num_vfs(function, request->count);
        case OPERATION_SET_AUTOPROBE:
                return plan_set_autoprobe(function, request->autoprobe);
        case OPERATION_BIND:
                userspace = vfio_driver_is_named(request->driver) ||
                            pattern_list_matches(request->manager->config->userspace_drivers,
                                                 request->driver);
                return plan_bind(function, request->driver, userspace);
        case OPERATION_UNBIND:
                return plan_unbind(function);
        default:
                return plan_reset(function);
        }
}

/* Refuses, or starts, now that the users are known. */
static void on_users_known(void *context, Function *function, int result, const char *message) {
        Request *request = context;
        Manager *manager = request->manager;
        g_autoptr(Verdict) verdict = NULL;
        g_autofree char *text = NULL;
        int r;

        if (result < 0) {
                request_end(request, result, message);
                return;
        }
        /* Somebody may have been faster. */
        text = busy_text(manager, function);
        if (text) {
                request_end(request, -EBUSY, text);
                return;
        }
        verdict = check(manager->inventory, function, request->operation, request->flags);
        if (!verdict_allowed(verdict)) {
                text = verdict_message(verdict);
                request_end(request, -ECONNREFUSED, text);
                return;
        }
        r = operations_start(manager->operations, function, request->operation,
                             make_plan(request, function), MANAGER_OPERATION_TIMEOUT_USEC, on_done,
                             request);
        if (r < 0)
                request_end(request, r, "it cannot be started");
}

/* Takes `request` over. */
static void operate(Request *request, const Function *function) {
        g_autofree char *text = busy_text(request->manager, function);

        if (text)
                request_end(request, -EBUSY, text);
        else /* somebody may have opened it since the last event */
                manager_refresh_users(request->manager, function, on_users_known, request);
}

void manager_set_num_vfs(Manager *manager, Function *pf, uint16_t count, bool override,
                         ManagerDone *done, void *context) {
        Request *request = request_new(manager, pf, OPERATION_SET_NUM_VFS, done, context);

        request->count = count;
        request->flags = override ? CHECK_OVERRIDE : 0;
        operate(request, pf);
}

void manager_set_autoprobe(Manager *manager, Function *pf, bool enable, ManagerDone *done,
                           void *context) {
        Request *request = request_new(manager, pf, OPERATION_SET_AUTOPROBE, done, context);

        request->autoprobe = enable;
        operate(request, pf);
}

void manager_bind(Manager *manager, Function *function, const char *driver, ManagerDone *done,
                  void *context) {
        Request *request = request_new(manager, function, OPERATION_BIND, done, context);

        g_ref_string_release(request->driver);
        request->driver = g_ref_string_new_intern(driver);
        operate(request, function);
}

void manager_unbind(Manager *manager, Function *function, ManagerDone *done, void *context) {
        operate(request_new(manager, function, OPERATION_UNBIND, done, context), function);
}

void manager_reset(Manager *manager, Function *function, ManagerDone *done, void *context) {
        operate(request_new(manager, function, OPERATION_RESET, done, context), function);
}

/* Somebody who waits for an unplug. They are told when the inventory shows how it ended. */
typedef struct UnplugCall {
        Manager *manager;
        ManagerDone *done;
        void *context;
        bool ended;
        int result;
        char *message;
} UnplugCall;

static void unplug_call_tell(UnplugCall *call) {
        call->done(call->context, call->result, call->message);
        g_free(call->message);
        g_free(call);
}

static void on_unplug_done(void *context, int result, const char *message) {
        UnplugCall *call = context;

        call->ended = true;
        call->result = result;
        call->message = g_strdup(message);
        (void) sd_event_source_set_enabled(call->manager->work, SD_EVENT_ONESHOT);
}

void manager_tell_unplug_calls(Manager *manager) {
        for (guint i = manager->unplug_calls->len; i > 0; i--) {
                UnplugCall *call = manager->unplug_calls->pdata[i - 1];

                if (!call->ended)
                        continue;
                g_ptr_array_remove_index(manager->unplug_calls, i - 1);
                unplug_call_tell(call);
        }
}

/* Somebody who wants an unplug, while the users are looked at. */
typedef struct UnplugRequest {
        Manager *manager;
        uint64_t timeout_usec;
        bool insist;
        ManagerDone *done;
        void *context;
} UnplugRequest;

static char *unplug_busy_text(const Manager *manager, const Function *function) {
        char *text = busy_text(manager, function);

        if (!text && function->state != FUNCTION_STATE_PRESENT)
                text = g_strdup("it is being taken away already");
        return text;
}

static void start_unplug(const UnplugRequest *request, Function *function) {
        Manager *manager = request->manager;
        UnplugCall *call = g_new0(UnplugCall, 1);
        /* Where nobody has to be waited for there is the kernel still. */
        uint64_t timeout_usec =
                request->timeout_usec > 0 ? request->timeout_usec : MANAGER_OPERATION_TIMEOUT_USEC;
        int r;

        call->manager = manager;
        call->done = request->done;
        call->context = request->context;
        g_ptr_array_add(manager->unplug_calls, call);
        r = unplugs_request(manager->unplugs, function, timeout_usec, request->insist,
                            on_unplug_done, call);
        if (r < 0)
                on_unplug_done(call, r, "it is being taken away already");
        manager_apply(manager);
}

static void on_unplug_users_known(void *context, Function *function, int result,
                                  const char *message) {
        g_autofree UnplugRequest *request = context;
        g_autoptr(Verdict) verdict = NULL;
        g_autofree char *text = NULL;
        int r;

        if (result < 0) {
                request->done(request->context, result, message);
                return;
        }
        text = unplug_busy_text(request->manager, function);
        if (text) {
                request->done(request->context, -EBUSY, text);
                return;
        }
        /* A later daemon has to know of it, and of the device nodes' own modes. */
        request->manager->state_dirty = true;
        r = manager_save_state(request->manager);
        if (r < 0) {
                text = manager_describe_failure(request->manager, r);
                request->done(request->context, -EIO, text);
                return;
        }
        verdict = check_unplug(request->manager->inventory, function, request->timeout_usec == 0);
        if (verdict_allowed(verdict))
                start_unplug(request, function);
        else {
                text = verdict_message(verdict);
                request->done(request->context, -ECONNREFUSED, text);
        }
}

void manager_unplug(Manager *manager, Function *function, uint64_t timeout_usec, bool insist,
                    ManagerDone *done, void *context) {
        g_autofree char *text = unplug_busy_text(manager, function);
        UnplugRequest *request;

        if (text) {
                done(context, -EBUSY, text);
                return;
        }
        request = g_new(UnplugRequest, 1);
        *request = (UnplugRequest){ manager, timeout_usec, insist, done, context };
        manager_refresh_users(manager, function, on_unplug_users_known, request);
}

void manager_end_calls(Manager *manager) {
        static const char why[] = "the daemon ends; what was begun goes on";

        users_end_refreshes(manager->users);
        while (manager->requests->len > 0)
                request_end(manager->requests->pdata[0], -ECANCELED, why);
        for (guint i = 0; i < manager->unplug_calls->len; i++)
                on_unplug_done(manager->unplug_calls->pdata[i], -ECANCELED, why);
        manager_tell_unplug_calls(manager);
        sessions_end_calls(manager->sessions, why);
        vf_tokens_end_calls(manager->vf_tokens, why);
        leases_end_calls(manager->leases, why);
}

int manager_cancel_unplug(Manager *manager, Function *function) {
        int r = unplugs_cancel(manager->unplugs, function);

        manager_apply(manager);
        return r;
}
