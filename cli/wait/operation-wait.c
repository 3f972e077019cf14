#include "cli/wait/operation-wait.h"

#include "cli/cleanup.h"
#include "cli/client.h"
#include "cli/wait/waiters.h"
#include "cli/wait/waiting.h"

#include <errno.h>
#include <unistd.h>

/* The daemon answers then, be it done or not (vfwardend(8)). */
#define ANSWER_USEC (20 * G_USEC_PER_SEC)

typedef struct OperationWait {
        Context *context;
        const char *address, *operation;
        Output output; /* standard error */
        Waiting waiting;
        bool shown;
} OperationWait;

static void operation_wait_done(OperationWait *wait) {
        waiting_end(&wait->waiting);
        (void) output_flush(&wait->output);
        waiting_done(&wait->waiting);
        output_done(&wait->output);
}

/* "reset is in progress (process 4711)" if `reply` of Check() says so of the function itself; the
 * caller's, or NULL. */
static char *read_progress(const OperationWait *wait, sd_bus_message *reply) {
        const char *kind, *subject, *reason;
        uint32_t pid;

        if (sd_bus_message_skip(reply, "b") < 0 ||
            sd_bus_message_enter_container(reply, 'a', "(sssu)") < 0)
                return NULL;
        while (sd_bus_message_read(reply, "(sssu)", &kind, &subject, &reason, &pid) > 0)
                if (g_str_equal(kind, "operation") && g_str_equal(subject, wait->address))
                        return g_strdup_printf("%s (process %u)", reason, pid);
        return NULL;
}

static char *ask_progress(const OperationWait *wait) {
        g_autoptr(sd_bus_message) reply = NULL;

        if (client_call(wait->context, CLIENT_ROOT, CLIENT_MANAGER, "Check", CALL_NO_AUTO_START,
                        NULL, &reply, "ss", wait->address, wait->operation) < 0)
                return NULL;
        return read_progress(wait, reply);
}

static JsonArray *list_waiters(const OperationWait *wait) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        JsonArray *waiters = NULL;

        return waiters_list(wait->context, wait->address, &error, &waiters) < 0 ? json_array_new()
                                                                                : waiters;
}

static void operation_wait_look(OperationWait *wait) {
        g_autofree char *progress = wait->shown ? NULL : ask_progress(wait);
        g_autoptr(JsonArray) waiters = NULL;

        if (!wait->shown && !progress)
                return;
        waiters = list_waiters(wait);
        if (wait->shown) {
                waiting_update(&wait->waiting, waiters);
                return;
        }
        wait->shown = true;
        output_text(&wait->output, STYLE_BOLD, wait->address);
        output_format(&wait->output, ": ");
        output_text(&wait->output, STYLE_PLAIN, progress);
        output_format(&wait->output, ", for %u s at most%s\n",
                      (unsigned) (ANSWER_USEC / G_USEC_PER_SEC),
                      json_array_get_length(waiters) > 0 ? ". It is in use by" : "");
        waiting_show(&wait->waiting, waiters);
}

int operation_wait(Context *context, sd_bus_message *message, const char *address,
                   const char *operation, uint64_t timeout_usec, sd_bus_error *ret_error) {
        gint64 deadline = g_get_monotonic_time() + (gint64) timeout_usec, look = 0;
        _cleanup_(operation_wait_done) OperationWait wait = { context, address, operation };
        _cleanup_(client_call_done) ClientCall call = { NULL, NULL };
        int r;

        output_init(&wait.output, STDERR_FILENO, context->color);
        waiting_init(&wait.waiting, &wait.output, ANSWER_USEC);
        r = client_call_send(message, &call);
        if (r < 0)
                return r;
        while (!call.reply && look < deadline) {
                look = MIN(deadline, g_get_monotonic_time() + WAITING_INTERVAL_USEC);
                r = client_call_wait(context, &call, look, ret_error);
                if (r < 0 && r != -ETIMEDOUT)
                        return r;
                if (!call.reply && !context->json && !context->quiet)
                        operation_wait_look(&wait);
        }
        return call.reply ? r : sd_bus_error_set_errno(ret_error, -ETIMEDOUT);
}
