#include "daemon/manager/requests.h"

#include "daemon/base/config.h"
#include "daemon/guard/operations.h"
#include "daemon/manager/function-users.h"
#include "daemon/manager/statistics.h"
#include "policy/vfio-driver.h"

#include <errno.h>

/* How long the inventory may take to show what the kernel has done. */
#define VERIFY_TIMEOUT_USEC (2 * 1000 * 1000ULL)

struct Requests {
        Apply *apply;
        const PartContext *context;
        GPtrArray *all;        /* of Request*, in progress */
        GPtrArray *unverified; /* of those the ones that wait for the inventory */
};

typedef struct Request {
        Requests *requests;
        PciKey key;
        uint64_t inode;
        RequestWish wish;
        GRefString *driver; /* of the wish; unbind: "" */
        ManagerDone *done;
        void *context;
        sd_event_source *patience; /* while it is `unverified` */
} Request;

Requests *requests_new(Apply *apply) {
        Requests *requests = g_new(Requests, 1);

        *requests = (Requests){
                .apply = apply,
                .context = apply_context(apply),
                .all = g_ptr_array_new(),
                .unverified = g_ptr_array_new(),
        };
        return requests;
}

Requests *requests_free(Requests *requests) {
        if (!requests)
                return NULL;
        g_ptr_array_unref(requests->all);
        g_ptr_array_unref(requests->unverified);
        g_free(requests);
        return NULL;
}

static Request *request_new(Requests *requests, const Function *function, const RequestWish *wish,
                            ManagerDone *done, void *context) {
        Request *request = g_new0(Request, 1);

        request->requests = requests;
        request->key = function->facts.key;
        request->inode = function->facts.inode;
        request->wish = *wish;
        request->driver = g_ref_string_new_intern(wish->driver ? wish->driver : "");
        request->wish.driver = request->driver;
        request->done = done;
        request->context = context;
        g_ptr_array_add(requests->all, request);
        return request;
}

/* Tells and frees. */
static void request_end(Request *request, int result, const char *message) {
        g_ptr_array_remove_fast(request->requests->all, request);
        request->done(request->context, result, message);
        sd_event_source_disable_unref(request->patience);
        g_ref_string_release(request->driver);
        g_free(request);
}

/* The function, if the very device that the request is about is still there; else NULL. */
static Function *request_function(const Request *request) {
        return inventory_get_device(request->requests->context->inventory, request->key,
                                    request->inode);
}

/* Whether the inventory shows what was asked for; `*ret_found` says what it shows instead. */
static bool verify(const Request *request, const Function *function, char **ret_found) {
        switch (request->wish.operation) {
        case OPERATION_SET_NUM_VFS:
                *ret_found = g_strdup_printf("%u virtual functions, %u of them known",
                                             function_num_vfs(function),
                                             function->vfs ? function->vfs->len : 0);
                return function_num_vfs(function) == request->wish.count &&
                       (function->vfs ? function->vfs->len : 0) == request->wish.count;
        case OPERATION_SET_AUTOPROBE:
                *ret_found = g_strdup("the value of before");
                return function->facts.drivers_autoprobe == request->wish.autoprobe;
        case OPERATION_BIND:
        case OPERATION_UNBIND:
                *ret_found = function->facts.driver[0] != '\0'
                                     ? g_strdup_printf("the driver '%s'", function->facts.driver)
                                     : g_strdup("no driver");
                if (request->wish.operation == OPERATION_BIND && request->driver[0] == '\0')
                        return function->facts.driver[0] != '\0';
                return request->driver == function->facts.driver;
        default:
                *ret_found = NULL;
                return true;
        }
}

/* Ends the request if the inventory shows what was asked for, or cannot show it any more. */
static bool request_verify(Request *request, bool last_time) {
        const Function *function = request_function(request);
        g_autofree char *found = NULL, *message = NULL;

        if (!function) {
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
                                  operation_to_string(request->wish.operation), found);
        request_end(request, -EIO, message);
        return true;
}

void requests_verify(Requests *requests) {
        for (guint i = requests->unverified->len; i > 0; i--) {
                Request *request = requests->unverified->pdata[i - 1];

                if (request_verify(request, false))
                        g_ptr_array_remove_index(requests->unverified, i - 1);
        }
}

static int on_impatience(sd_event_source *source, uint64_t usec, void *userdata) {
        Request *request = userdata;

        g_ptr_array_remove(request->requests->unverified, request);
        (void) request_verify(request, true);
        return 0;
}

/* New VFs are read in a moment: waits for them, but not for ever. */
static void wait_for_inventory(Request *request) {
        Requests *requests = request->requests;

        if (sd_event_add_time_relative(requests->context->event, &request->patience,
                                       CLOCK_MONOTONIC, VERIFY_TIMEOUT_USEC, 0, on_impatience,
                                       request) < 0) {
                (void) request_verify(request, true);
                return;
        }
        (void) sd_event_source_set_description(request->patience, "request-verify");
        g_ptr_array_add(requests->unverified, request);
}

/* What the kernel's error means, where its number does not tell a person. */
static char *failure_text(const Request *request, int result, const char *path) {
        const Function *function = request_function(request);
        const char *name = operation_to_string(request->wish.operation);

        if (result == -ENOENT && path && g_str_has_suffix(path, "/bind"))
                return g_strdup_printf("%s failed: there is no driver '%s'; is its module loaded?",
                                       name, request->driver);
        /* ENOENT, or EIO of older kernels (sriov_numvfs_store() in drivers/pci/iov.c). */
        if (request->wish.operation == OPERATION_SET_NUM_VFS &&
            (result == -ENOENT || function->facts.driver[0] == '\0'))
                return g_strdup_printf("%s failed: it has no driver that makes virtual functions",
                                       name);
        return g_strdup_printf("%s failed: %s: %s", name, path ? path : "the process",
                               g_strerror(-result));
}

static void on_done(void *context, int result, const char *path) {
        Request *request = context;
        const char *name = operation_to_string(request->wish.operation);
        g_autofree char *message = NULL;

        if (result < 0 && !request_function(request)) {
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
        (void) apply_related(request->requests->apply, request_function(request));
        if (!request_verify(request, false))
                wait_for_inventory(request);
}

char *requests_busy_text(const Inventory *inventory, const Function *function) {
        g_autoptr(GPtrArray) related = check_related(inventory, function);
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
        const PartContext *context = request->requests->context;
        const Config *config = context->host->config(context->host_context);
        bool userspace;

        switch (request->wish.operation) {
        case OPERATION_SET_NUM_VFS:
                return plan_set_num_vfs(function, request->wish.count);
        case OPERATION_SET_AUTOPROBE:
                return plan_set_autoprobe(function, request->wish.autoprobe);
        case OPERATION_BIND:
                userspace = vfio_driver_is_named(request->driver) ||
                            pattern_list_matches(config->userspace_drivers, request->driver);
                return plan_bind(function, request->driver, userspace);
        case OPERATION_UNBIND:
                return plan_unbind(function);
        default:
                return plan_reset(function);
        }
}

/* Refuses, or starts, now that the users are known. */
static void on_request_users_known(void *context, Function *function, int result,
                                   const char *message) {
        Request *request = context;
        const PartContext *parts = request->requests->context;
        g_autoptr(Verdict) verdict = NULL;
        g_autofree char *text = NULL, *why = NULL;
        int r;

        if (result < 0) {
                request_end(request, result, message);
                return;
        }
        /* Somebody may have been faster. */
        text = requests_busy_text(parts->inventory, function);
        if (text) {
                request_end(request, -EBUSY, text);
                return;
        }
        verdict = check(parts->inventory, function, request->wish.operation, request->wish.flags);
        if (!verdict_allowed(verdict)) {
                text = verdict_message(verdict);
                request_end(request, verdict_unsupported(verdict) ? -EIO : -ECONNREFUSED, text);
                return;
        }
        r = operations_start(part_find(parts, operations_part), function, request->wish.operation,
                             make_plan(request, function), MANAGER_OPERATION_TIMEOUT_USEC, on_done,
                             request, &why);
        if (why)
                request_end(request, -EIO, why);
        else if (r < 0)
                request_end(request, r, "it cannot be started");
}

void requests_begin(Requests *requests, Function *function, const RequestWish *wish,
                    ManagerDone *done, void *context) {
        void *counted = statistics_call_new(
                requests->context->counters->operations[wish->operation], done, context);
        Request *request = request_new(requests, function, wish, statistics_call_done, counted);
        g_autofree char *text = requests_busy_text(requests->context->inventory, function);

        if (text)
                request_end(request, -EBUSY, text);
        else /* somebody may have opened it since the last event */
                function_uses_refresh(requests->context, function, on_request_users_known, request);
}

void requests_end_calls(Requests *requests, const char *why) {
        g_ptr_array_set_size(requests->unverified, 0);
        while (requests->all->len > 0)
                request_end(requests->all->pdata[0], -ECANCELED, why);
}
