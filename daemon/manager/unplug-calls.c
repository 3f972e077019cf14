#include "daemon/manager/unplug-calls.h"

#include "daemon/guard/unplug.h"
#include "daemon/manager/function-users.h"
#include "daemon/manager/requests.h"
#include "daemon/manager/statistics.h"

#include <errno.h>

struct UnplugCalls {
        Apply *apply;
        const PartContext *context;
        GPtrArray *calls; /* of UnplugCall* */
};

/* A call that waits for an unplug. It ends when the inventory shows how the unplug ended. */
typedef struct UnplugCall {
        UnplugCalls *calls;
        PciKey key; /* of the function */
        ManagerDone *done;
        void *context;
        bool ended;
        int result;
        char *message;
} UnplugCall;

UnplugCalls *unplug_calls_new(Apply *apply) {
        UnplugCalls *calls = g_new(UnplugCalls, 1);

        *calls = (UnplugCalls){ apply, apply_context(apply), g_ptr_array_new() };
        return calls;
}

UnplugCalls *unplug_calls_free(UnplugCalls *calls) {
        if (!calls)
                return NULL;
        g_ptr_array_unref(calls->calls);
        g_free(calls);
        return NULL;
}

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
        apply_wake(call->calls->apply);
}

void unplug_calls_tell(UnplugCalls *calls) {
        for (guint i = calls->calls->len; i > 0; i--) {
                UnplugCall *call = calls->calls->pdata[i - 1];

                if (!call->ended)
                        continue;
                g_ptr_array_remove_index(calls->calls, i - 1);
                unplug_call_tell(call);
        }
}

/* Somebody who wants an unplug, while the users are looked at. */
typedef struct UnplugRequest {
        UnplugCalls *calls;
        uint64_t timeout_usec;
        bool insist;
        unsigned flags; /* for check() */
        ManagerDone *done;
        void *context;
} UnplugRequest;

static char *unplug_busy_text(const UnplugCalls *calls, const Function *function) {
        char *text = requests_busy_text(calls->context->inventory, function);

        if (!text && function->state != FUNCTION_STATE_PRESENT)
                text = g_strdup("it is being taken away already");
        return text;
}

static void start_unplug(const UnplugRequest *request, Function *function) {
        UnplugCalls *calls = request->calls;
        UnplugCall *call = g_new0(UnplugCall, 1);
        /* Where nobody has to be waited for there is the kernel still. */
        uint64_t timeout_usec =
                request->timeout_usec > 0 ? request->timeout_usec : MANAGER_OPERATION_TIMEOUT_USEC;
        int r;

        call->calls = calls;
        call->key = function->facts.key;
        call->done = request->done;
        call->context = request->context;
        g_ptr_array_add(calls->calls, call);
        r = unplugs_request(part_find(calls->context, unplugs_part), function, timeout_usec,
                            request->insist, request->flags, on_unplug_done, call);
        if (r < 0)
                on_unplug_done(call, r, "it is being taken away already");
        (void) apply_related(calls->apply, function);
}

static void on_unplug_users_known(void *context, Function *function, int result,
                                  const char *message) {
        g_autofree UnplugRequest *request = context;
        const UnplugCalls *calls = request->calls;
        StateKeeper *state = apply_state(calls->apply);
        g_autoptr(Verdict) verdict = NULL;
        g_autofree char *text = NULL;
        int r;

        if (result < 0) {
                request->done(request->context, result, message);
                return;
        }
        text = unplug_busy_text(calls, function);
        if (text) {
                request->done(request->context, -EBUSY, text);
                return;
        }
        /* A later daemon has to know of it, and of the device nodes' own modes. */
        state_keeper_mark_changed(state);
        r = state_keeper_save(state);
        if (r < 0) {
                text = state_keeper_describe_failure(state, r);
                request->done(request->context, -EIO, text);
                return;
        }
        verdict = check_unplug(calls->context->inventory, function, request->timeout_usec == 0,
                               request->flags);
        if (verdict_allowed(verdict))
                start_unplug(request, function);
        else {
                text = verdict_message(verdict);
                request->done(request->context, -ECONNREFUSED, text);
        }
}

void unplug_calls_begin(UnplugCalls *calls, Function *function, uint64_t timeout_usec, bool insist,
                        unsigned flags, ManagerDone *done, void *context) {
        void *counted = statistics_call_new(calls->context->counters->unplugs, done, context);
        g_autofree char *text = unplug_busy_text(calls, function);
        UnplugRequest *request;

        if (text) {
                statistics_call_done(counted, -EBUSY, text);
                return;
        }
        request = g_new(UnplugRequest, 1);
        *request = (UnplugRequest){ calls, timeout_usec,         insist,
                                    flags, statistics_call_done, counted };
        function_uses_refresh(calls->context, function, on_unplug_users_known, request);
}

int unplug_calls_cancel(UnplugCalls *calls, Function *function) {
        int r = unplugs_cancel(part_find(calls->context, unplugs_part), function);

        (void) apply_related(calls->apply, function);
        return r;
}

int unplug_calls_refuse(UnplugCalls *calls, const Function *function, const char *why) {
        int r = unplugs_refuse(part_find(calls->context, unplugs_part), function, why);

        (void) apply_related(calls->apply, function);
        return r;
}

uint64_t unplug_calls_deadline(const UnplugCalls *calls, const Function *function) {
        return unplugs_deadline(part_find(calls->context, unplugs_part), function);
}

/* Only what cannot be cancelled any more is remembered. */
static const char *ending_text(const UnplugCall *call, const char *why) {
        const Function *function = inventory_get(call->calls->context->inventory, call->key);

        if (function && function->state != FUNCTION_STATE_REMOVING)
                return "the daemon ends; the request ends with it, and nothing has changed";
        return why;
}

void unplug_calls_end_calls(UnplugCalls *calls, const char *why) {
        for (guint i = 0; i < calls->calls->len; i++) {
                UnplugCall *call = calls->calls->pdata[i];

                on_unplug_done(call, -ECANCELED, ending_text(call, why));
        }
        unplug_calls_tell(calls);
}
