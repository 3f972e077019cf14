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
        sd_event_source *rest; /* enabled while it is attached without need */
        bool attached;
};

static int on_rest_end(sd_event_source *source, uint64_t usec, void *context) {
        WriteHook *hook = context;

        /* The kernel detaches it later, by a thread of its own (bpf_link_put()). */
        if (unlink(hook->link) < 0 && errno != ENOENT)
                log_error("Failed to remove %s: %s", hook->link, g_strerror(errno));
        hook->attached = false;
        return 0;
}

WriteHook *write_hook_new(sd_event *event, const char *directory, uint64_t rest_usec) {
        WriteHook *hook = g_new0(WriteHook, 1);
        int r;

        hook->program = g_build_filename(directory, GUARD_PIN_WRITE_PROGRAM, NULL);
        hook->link = g_build_filename(directory, GUARD_PIN_WRITE_LINK, NULL);
        hook->rest_usec = rest_usec;
        hook->attached = access(hook->link, F_OK) >= 0;
        r = wakeup_new_timer(event, 0, on_rest_end, hook, &hook->rest);
        if (r >= 0)
                (void) sd_event_source_set_description(hook->rest, "write-hook: end of rest");
        else
                log_error("Failed to set up a timer: %s", g_strerror(-r));
        return hook;
}

WriteHook *write_hook_free(WriteHook *hook) {
        if (!hook)
                return NULL;
        sd_event_source_disable_unref(hook->rest);
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

int write_hook_set(WriteHook *hook, bool needed) {
        if (needed) {
                (void) sd_event_source_set_enabled(hook->rest, SD_EVENT_OFF);
                return hook->attached ? 0 : write_hook_attach(hook);
        }
        if (hook->attached)
                wakeup_within(hook->rest, hook->rest_usec);
        return 0;
}
