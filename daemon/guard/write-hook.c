#include "daemon/guard/write-hook.h"

#include "daemon/base/log.h"
#include "daemon/base/util.h"
#include "daemon/base/wakeup.h"
#include "daemon/guard/bpf-pin.h"
#include "policy/guard-layout.h"

#include <errno.h>
#include <glib.h>
#include <unistd.h>

struct WriteHook {
        char *program, *link; /* paths of their pins */
        uint64_t rest_usec;
        WriteHookRetried *retried;
        void *context;
        sd_event_source *rest;  /* enabled while it is attached without need */
        sd_event_source *retry; /* enabled while it is needed and could not be attached for now */
        bool attached;
};

static int on_rest_end(sd_event_source *source, uint64_t usec, void *context) {
        WriteHook *hook = context;

        /* The kernel detaches it later, by a thread of its own (bpf_link_put()). */
        if (unlink(hook->link) < 0 && errno != ENOENT)
                log_error("Failed to remove %s: %s", hook->link, g_strerror(errno));
        else
                hook->attached = false;
        return 0;
}

static int on_hook_retry(sd_event_source *source, uint64_t usec, void *context) {
        WriteHook *hook = context;

        hook->retried(hook->context, write_hook_set(hook, true));
        return 0;
}

static void new_timer(WriteHook *hook, sd_event *event, sd_event_time_handler_t handler,
                      const char *name, sd_event_source **ret) {
        int r = wakeup_new_timer(event, WRITE_HOOK_RETRY_USEC / 10, handler, hook, ret);

        if (r >= 0)
                (void) sd_event_source_set_description(*ret, name);
        else
                log_error("Failed to set up a timer: %s", g_strerror(-r));
}

WriteHook *write_hook_new(sd_event *event, const char *directory, uint64_t rest_usec,
                          WriteHookRetried *retried, void *context) {
        WriteHook *hook = g_new0(WriteHook, 1);

        hook->program = g_build_filename(directory, GUARD_PIN_WRITE_PROGRAM, NULL);
        hook->link = g_build_filename(directory, GUARD_PIN_WRITE_LINK, NULL);
        hook->rest_usec = rest_usec;
        hook->attached = access(hook->link, F_OK) >= 0;
        hook->retried = retried;
        hook->context = context;
        new_timer(hook, event, on_rest_end, "write-hook: end of rest", &hook->rest);
        new_timer(hook, event, on_hook_retry, "write-hook: retry", &hook->retry);
        return hook;
}

WriteHook *write_hook_free(WriteHook *hook) {
        if (!hook)
                return NULL;
        sd_event_source_disable_unref(hook->rest);
        sd_event_source_disable_unref(hook->retry);
        g_free(hook->program);
        g_free(hook->link);
        g_free(hook);
        return NULL;
}

static int write_hook_attach(WriteHook *hook) {
        _cleanup_(closep) int program = bpf_open_pin(hook->program), link = -1;
        int r;

        if (program < 0)
                return program;
        link = bpf_attach_program(program);
        if (link < 0)
                return link;
        r = bpf_pin(link, hook->link);
        hook->attached = r >= 0;
        return r;
}

/* The kernel detaches a link a moment after its pin is removed, or later: another process can hold
 * a descriptor of it. The program is busy so long. */
bool write_hook_retries(int error) {
        return error == -EBUSY || error == -EMFILE || error == -ENFILE || error == -ENOMEM;
}

int write_hook_set(WriteHook *hook, bool needed) {
        int r;

        if (!needed) {
                (void) sd_event_source_set_enabled(hook->retry, SD_EVENT_OFF);
                if (hook->attached)
                        wakeup_within(hook->rest, hook->rest_usec);
                return 0;
        }
        (void) sd_event_source_set_enabled(hook->rest, SD_EVENT_OFF);
        r = hook->attached ? 0 : write_hook_attach(hook);
        if (write_hook_retries(r))
                wakeup_within(hook->retry, WRITE_HOOK_RETRY_USEC);
        return r;
}
