#include "cli/serve/serving.h"

#include "cli/agent.h"
#include "cli/verbs/child.h"

#include <errno.h>
#include <sys/epoll.h>

int serving_begin(Serving *serving, Context *context, const char *path, const char *address,
                  const ReleaseOptions *options) {
        int r;

        *serving = (Serving){ .context = context };
        if (sigprocmask(SIG_BLOCK, NULL, &serving->before) < 0)
                return -errno;
        r = sd_event_new(&serving->event);
        if (r >= 0 && (options->command || options->qmp))
                r = release_new(context, serving->event, path, address, options, &serving->before,
                                &serving->release);
        return r;
}

static int on_session_end(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        return sd_event_exit(sd_event_source_get_event(source), 0);
}

/* What the terminal sends reaches the child as well, what somebody sends to this process alone is
 * passed on. */
static int on_serving_signal(sd_event_source *source, const struct signalfd_siginfo *info,
                             void *userdata) {
        const Serving *serving = userdata;

        if (serving->child == 0)
                return sd_event_exit(serving->event, 0);
        if (info->ssi_code <= 0)
                (void) kill(serving->child, (int) info->ssi_signo);
        return 0;
}

static int on_serving_child(sd_event_source *source, const siginfo_t *info, void *userdata) {
        Serving *serving = userdata;

        serving->code = child_exit_code(info);
        return sd_event_exit(serving->event, 0);
}

static int watch_signals(Serving *serving) {
        sigset_t signals, before;
        int r = child_block_signals(&signals, &before);

        for (const int *number = child_signals; r >= 0 && *number != 0; number++)
                r = sd_event_add_signal(serving->event, NULL, *number, on_serving_signal, serving);
        return r;
}

static int start_child(Serving *serving, char **command) {
        pid_t child = child_start(serving->context, command, &serving->before);
        int r;

        if (child < 0)
                return child;
        serving->child = child;
        r = sd_event_add_child(serving->event, NULL, child, WEXITED, on_serving_child, serving);
        if (r < 0)
                (void) kill(child, SIGTERM);
        return r;
}

/* The session may last for weeks. A connection to the bus is kept only for requests. */
static int keep_bus(Serving *serving) {
        Context *context = serving->context;

        agent_end(&context->agent);
        if (serving->release)
                return sd_bus_attach_event(context->bus, serving->event, SD_EVENT_PRIORITY_NORMAL);
        context->bus = sd_bus_flush_close_unref(context->bus);
        return 0;
}

ExitCode serving_wait(Serving *serving, int session, char **command) {
        int r = keep_bus(serving);

        if (r >= 0)
                r = watch_signals(serving);
        if (r >= 0)
                r = command[0] ? start_child(serving, command)
                               : sd_event_add_io(serving->event, NULL, session, EPOLLIN,
                                                 on_session_end, serving);
        if (r >= 0)
                r = sd_event_loop(serving->event);
        if (r < 0) {
                print_error("Failed to wait for the end of the session: %s", g_strerror(-r));
                return EXIT_CODE_FAILED;
        }
        return serving->code;
}

void serving_done(Serving *serving) {
        release_free(serving->release);
        sd_event_unref(serving->event);
}
