#include "daemon/base/helper.h"

#include "daemon/base/process.h"
#include "daemon/base/util.h"
#include "daemon/base/wakeup.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEADLINE_ACCURACY_USEC (10 * 1000ULL)

struct Helper {
        sd_event *event;
        const HelperHandler *handler;
        void *context;
        HelperOrigin origin;
        pid_t pid;
        uint64_t start_time;
        int channel;
        int pidfd; /* of one that is no child; else -1 */
        bool over; /* and reaped, if it is a child */
        sd_event_source *messages, *end, *deadline;
};

/* --- forking */

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

pid_t helper_fork_process(const char *name, const int *keep, unsigned n_keep) {
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
        /* Reaped. What floats is the event loop's, with its pidfd, until it is taken from it. */
        (void) sd_event_source_set_floating(source, false);
        return 0;
}

void helper_forget_process(sd_event *event, pid_t pid) {
        sd_event_source *source = NULL;

        if (sd_event_add_child(event, &source, pid, WEXITED, on_forgotten_end, NULL) >= 0) {
                (void) sd_event_source_set_description(source, "helper-forgotten");
                (void) sd_event_source_set_floating(source, true);
        }
        sd_event_source_unref(source);
}

/* --- the daemon's side */

static int on_helper_message(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        const Helper *helper = userdata;

        helper->handler->readable(helper->context, fd);
        return 0;
}

int helper_new(sd_event *event, const HelperHandler *handler, void *context, int *channel,
               Helper **ret) {
        Helper *helper = g_new0(Helper, 1);
        int r = 0;

        helper->event = sd_event_ref(event);
        helper->handler = handler;
        helper->context = context;
        helper->channel = helper->pidfd = -1;
        if (channel && handler->readable)
                r = sd_event_add_io(event, &helper->messages, *channel, EPOLLIN, on_helper_message,
                                    helper);
        if (r < 0) {
                helper_free(helper);
                return r;
        }
        (void) sd_event_source_set_description(helper->messages, handler->name);
        if (channel)
                helper->channel = take_fd(channel);
        *ret = helper;
        return 0;
}

void helper_set_origin(Helper *helper, const HelperOrigin *origin) {
        helper->origin = *origin;
}

void helper_report_start(Helper *helper, int result) {
        helper->handler->started(helper->context, result);
}

void helper_report_end(Helper *helper, int killer) {
        helper->over = true;
        (void) sd_event_source_set_enabled(helper->end, SD_EVENT_OFF);
        helper_clear_deadline(helper);
        if (helper->handler->ended)
                helper->handler->ended(helper->context, killer);
}

static int on_helper_child_end(sd_event_source *source, const siginfo_t *info, void *userdata) {
        helper_report_end(userdata, info->si_code == CLD_EXITED ? 0 : info->si_status);
        return 0;
}

static int on_helper_other_end(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        Helper *helper = userdata;

        (void) sd_event_source_set_enabled(source, SD_EVENT_OFF);
        if (helper->origin.process_over)
                helper->origin.process_over(helper->origin.data);
        else
                helper_report_end(helper, 0); /* it is no child of ours: nobody tells */
        return 0;
}

/* What it said before it ended is heard before its end. */
static int helper_watch_end(Helper *helper) {
        int r;

        if (helper->pidfd >= 0)
                r = sd_event_add_io(helper->event, &helper->end, helper->pidfd, EPOLLIN,
                                    on_helper_other_end, helper);
        else
                r = sd_event_add_child(helper->event, &helper->end, helper->pid, WEXITED,
                                       on_helper_child_end, helper);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(helper->end, "helper-end");
        return sd_event_source_set_priority(helper->end, SD_EVENT_PRIORITY_NORMAL + 1);
}

int helper_identify(Helper *helper, pid_t pid, int *pidfd) {
        int r;

        helper->pid = pid;
        if (pidfd)
                helper->pidfd = *pidfd;
        r = process_read_start_time(pid, &helper->start_time);
        if (r >= 0)
                r = helper_watch_end(helper);
        if (r < 0) {
                helper->end = sd_event_source_disable_unref(helper->end);
                helper->pid = 0;
                helper->pidfd = -1;
                return r;
        }
        if (pidfd)
                *pidfd = -1;
        return 0;
}

static void helper_end_process(pid_t pid) {
        (void) kill(pid, SIGKILL);
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
                ;
}

int helper_fork(sd_event *event, const HelperHandler *handler, void *context, HelperRun *run,
                void *task, const int *keep, unsigned n_keep, Helper **ret) {
        g_autofree int *all = g_new(int, n_keep + 1);
        _cleanup_(closep) int ours = -1, theirs = -1;
        Helper *helper = NULL;
        int pair[2], r;
        pid_t pid;

        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
                return -errno;
        ours = pair[0];
        theirs = pair[1];
        for (unsigned i = 0; i < n_keep; i++)
                all[i] = keep[i];
        all[n_keep] = theirs;

        r = helper_new(event, handler, context, &ours, &helper);
        if (r < 0)
                return r;
        pid = helper_fork_process(handler->name, all, n_keep + 1);
        if (pid == 0) {
                run(task, theirs);
                _exit(EXIT_FAILURE);
        }
        r = pid < 0 ? (int) pid : helper_identify(helper, pid, NULL);
        if (r < 0) {
                if (pid > 0 && handler->waits)
                        helper_end_process(pid);
                else if (pid > 0) {
                        (void) kill(pid, SIGKILL);
                        helper_forget_process(event, pid);
                }
                helper_free(helper);
                return r;
        }
        *ret = helper;
        return 0;
}

/* Also when its parent has not waited for it yet: /proc still shows such a process. */
static bool has_ended(int pidfd) {
        struct pollfd end = { .fd = pidfd, .events = POLLIN };

        return poll(&end, 1, 0) > 0;
}

int helper_adopt(sd_event *event, const HelperHandler *handler, void *context, pid_t pid,
                 uint64_t start_time, int *channel, Helper **ret) {
        /* The descriptor first: then the pid cannot change hands between looking and watching. */
        _cleanup_(closep) int pidfd = (int) syscall(SYS_pidfd_open, pid, 0);
        int copy = channel ? *channel : -1, r;
        Helper *helper = NULL;

        if (pidfd < 0)
                return -errno;
        if (has_ended(pidfd))
                return -ESRCH;
        r = helper_new(event, handler, context, channel ? &copy : NULL, &helper);
        if (r < 0)
                return r;
        r = helper_identify(helper, pid, &pidfd);
        if (r >= 0 && helper->start_time != start_time)
                r = -ESRCH;
        if (r < 0) {
                helper->channel = -1; /* the caller's still */
                helper_free(helper);
                return r;
        }
        if (channel)
                *channel = -1;
        *ret = helper;
        return 0;
}

Helper *helper_free(Helper *helper) {
        if (!helper)
                return NULL;
        sd_event_source_disable_unref(helper->messages);
        sd_event_source_disable_unref(helper->end);
        sd_event_source_disable_unref(helper->deadline);
        if (helper->pid > 0 && helper->pidfd < 0 && !helper->over)
                helper_forget_process(helper->event, helper->pid);
        if (helper->origin.free)
                helper->origin.free(helper->origin.data);
        closep(&helper->channel);
        closep(&helper->pidfd);
        sd_event_unref(helper->event);
        g_free(helper);
        return NULL;
}

Helper *helper_discard(Helper *helper) {
        assert(!helper || helper->handler->waits);
        if (helper && !helper->over) {
                helper->end = sd_event_source_disable_unref(helper->end);
                helper->over = true;
                helper_end_process(helper->pid);
        }
        return helper_free(helper);
}

void helper_kill(Helper *helper) {
        /* Not reaped before its source tells, or held by its descriptor: the pid is its own
         * still. */
        if (helper->over || helper->pid == 0)
                return;
        if (helper->pidfd >= 0)
                (void) syscall(SYS_pidfd_send_signal, helper->pidfd, SIGKILL, NULL, 0);
        else
                (void) kill(helper->pid, SIGKILL);
}

Helper *helper_condemn(Helper *helper, Children *children, const KilledChild *victim) {
        KilledChild child = *victim;

        if (!helper)
                return NULL;
        if (helper->over || helper->pid == 0)
                return helper_free(helper);
        child.pid = helper->pid;
        child.pidfd = take_fd(&helper->pidfd);
        child.name = helper->handler->name;
        helper->end = sd_event_source_disable_unref(helper->end);
        helper->over = true; /* as far as it is ours */
        children_kill(children, &child);
        return helper_free(helper);
}

static int on_helper_due(sd_event_source *source, uint64_t usec, void *userdata) {
        const Helper *helper = userdata;

        helper->handler->due(helper->context);
        return 0;
}

int helper_set_deadline(Helper *helper, uint64_t usec) {
        int r = 0;

        if (!helper->deadline)
                r = wakeup_new_timer(helper->event, DEADLINE_ACCURACY_USEC, on_helper_due, helper,
                                     &helper->deadline);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(helper->deadline, "helper-deadline");
        r = sd_event_source_set_time_relative(helper->deadline, usec);
        if (r >= 0)
                r = sd_event_source_set_enabled(helper->deadline, SD_EVENT_ONESHOT);
        return r;
}

void helper_clear_deadline(Helper *helper) {
        helper->deadline = sd_event_source_disable_unref(helper->deadline);
}

void helper_ignore(Helper *helper) {
        (void) sd_event_source_set_enabled(helper->messages, SD_EVENT_OFF);
}

void helper_hang_up(Helper *helper) {
        helper->messages = sd_event_source_disable_unref(helper->messages);
        closep(&helper->channel);
}

pid_t helper_pid(const Helper *helper) {
        return helper->pid;
}

uint64_t helper_start_time(const Helper *helper) {
        return helper->start_time;
}

int helper_channel(const Helper *helper) {
        return helper->channel;
}

bool helper_has_ended(const Helper *helper) {
        return helper->over;
}
