#include "daemon/base/child.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static int compare_fds(const void *a, const void *b) {
        return *(const int *) a - *(const int *) b;
}

static void close_all_but(const int *keep, unsigned n_keep) {
        g_autofree int *sorted = g_memdup2(keep, n_keep * sizeof(*keep));
        unsigned next = STDERR_FILENO + 1;

        qsort(sorted, n_keep, sizeof(*sorted), compare_fds);
        for (unsigned i = 0; i < n_keep; i++) {
                if (sorted[i] < (int) next)
                        continue;
                if ((unsigned) sorted[i] > next)
                        (void) close_range(next, (unsigned) sorted[i] - 1, 0);
                next = (unsigned) sorted[i] + 1;
        }
        (void) close_range(next, ~0U, 0);
}

/* A reader of the daemon's output waits until the last process closes it. */
static void drop_standard_streams(void) {
        int null = open("/dev/null", O_RDWR | O_CLOEXEC);

        for (int fd = STDIN_FILENO; null >= 0 && fd <= STDERR_FILENO; fd++)
                (void) dup2(null, fd);
}

pid_t child_fork(const char *name, const int *keep, unsigned n_keep) {
        sigset_t none;
        pid_t pid;

        pid = fork();
        if (pid < 0)
                return -errno;
        if (pid > 0)
                return pid;

        /* The daemon blocks its signals for a signalfd; a child that can be killed should be. */
        sigemptyset(&none);
        (void) sigprocmask(SIG_SETMASK, &none, NULL);
        (void) prctl(PR_SET_NAME, name);
        drop_standard_streams();
        close_all_but(keep, n_keep);
        return 0;
}

static int on_forgotten_end(sd_event_source *source, const siginfo_t *info, void *userdata) {
        /* Reaped. A floating source belongs to the event loop, with its pidfd, until it is
         * removed. */
        (void) sd_event_source_set_floating(source, false);
        return 0;
}

void child_forget(sd_event *event, pid_t pid) {
        sd_event_source *source = NULL;

        if (sd_event_add_child(event, &source, pid, WEXITED, on_forgotten_end, NULL) >= 0)
                (void) sd_event_source_set_floating(source, true);
        sd_event_source_unref(source);
}
