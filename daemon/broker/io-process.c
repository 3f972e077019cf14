#include "daemon/broker/io-process.h"

#include "daemon/base/child.h"
#include "daemon/base/process.h"
#include "daemon/base/util.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* An order that is no access to the device is obeyed within microseconds, but for the end, which
 * waits for one access and the device's reset (vfio_pci_core_close_device()). */
#define ORDER_TIMEOUT_USEC (5 * 1000 * 1000ULL)
/* Nobody waits for a status, and what is ended for want of one is a session that was promised: a
 * host on which a process gets no turn for seconds must not lose it. */
#define STATUS_TIMEOUT_USEC (20 * 1000 * 1000ULL)
#define TIMER_ACCURACY      (10 * 1000ULL)

/* Single requests have a deadline of their own, which is the device's. */
#define TIMED_ORDERS (1U << IO_STATUS | 1U << IO_DRAIN | 1U << IO_END | 1U << IO_GONE)

struct IoProcess {
        sd_event *event;
        Children *children;
        PciKey key;
        uint32_t uid;
        pid_t pid;
        uint64_t start_time;
        int control;
        int pidfd; /* of one that was adopted, else -1 */
        IoReports reports;
        bool serves_client;
        bool over; /* and reaped */
        bool late; /* killed, and has not ended in time */
        const char *fault;
        sd_event_source *report, *exit, *deadline;
        const IoProcessHandler *handler;
        void *context;
};

static void stop_listening(IoProcess *process) {
        (void) sd_event_source_set_enabled(process->report, SD_EVENT_OFF);
}

static void process_over(IoProcess *process, int killer) {
        process->over = true;
        process->deadline = sd_event_source_disable_unref(process->deadline);
        stop_listening(process);
        (void) sd_event_source_set_enabled(process->exit, SD_EVENT_OFF);
        process->handler->ended(process->context, killer);
}

static int set_deadline(IoProcess *process, uint64_t usec, sd_event_time_handler_t callback) {
        process->deadline = sd_event_source_disable_unref(process->deadline);
        return sd_event_add_time_relative(process->event, &process->deadline, CLOCK_MONOTONIC, usec,
                                          TIMER_ACCURACY, callback, process);
}

static int on_kill_timeout(sd_event_source *source, uint64_t usec, void *userdata) {
        IoProcess *process = userdata;

        process->late = true;
        process->handler->hangs(process->context);
        return 0;
}

/* Not reaped before on_child_end() or on_adopted_end(): the pid is its own still. */
static void send_kill(const IoProcess *process) {
        if (process->pidfd >= 0)
                (void) syscall(SYS_pidfd_send_signal, process->pidfd, SIGKILL, NULL, 0);
        else
                (void) kill(process->pid, SIGKILL);
}

void io_process_kill(IoProcess *process, const char *why) {
        if (process->over || process->fault)
                return;
        process->fault = why;
        stop_listening(process);
        send_kill(process);
        if (set_deadline(process, CHILDREN_GRACE_USEC, on_kill_timeout) < 0)
                process->late = true;
}

static int on_order_timeout(sd_event_source *source, uint64_t usec, void *userdata) {
        io_process_kill(userdata, "vfwarden-io did not obey in time");
        return 0;
}

/* The process is given time for what it has to do still; each of its answers is progress. */
static void restart_deadline(IoProcess *process) {
        unsigned pending = process->reports.pending & TIMED_ORDERS;
        bool status_only = pending == 1U << IO_STATUS && !process->reports.ended;
        uint64_t usec = status_only ? STATUS_TIMEOUT_USEC : ORDER_TIMEOUT_USEC;

        if (process->fault)
                return;
        if (pending == 0 && !process->reports.ended)
                process->deadline = sd_event_source_disable_unref(process->deadline);
        else if (set_deadline(process, usec, on_order_timeout) < 0)
                io_process_kill(process, "no timer can be had for vfwarden-io");
}

/* One report a turn, and a process that sends one too many is heard no more: nobody's turn comes
 * later for a flood. */
static int on_report(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        IoProcess *process = userdata;
        uint8_t packet[sizeof(IoReport) + 1]; /* one byte more: what is too long is seen to be */
        IoReport report;
        IoFault fault;
        ssize_t n;

        n = recv(fd, packet, sizeof(packet), MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return 0;
        if (n <= 0) {
                /* It is about to end, and another event reports its end; or it only closed its
                 * socket. */
                stop_listening(process);
                process->reports.ended = true;
                restart_deadline(process);
                return 0;
        }
        fault = io_report_take(&process->reports, packet, (size_t) n, &report);
        if (fault != IO_FAULT_NONE) {
                io_process_kill(process, io_fault_to_string(fault));
                return 0;
        }
        restart_deadline(process);
        process->handler->report(process->context, &report);
        return 0;
}

static int on_child_end(sd_event_source *source, const siginfo_t *info, void *userdata) {
        process_over(userdata, info->si_code == CLD_EXITED ? 0 : info->si_status);
        return 0;
}

static int on_adopted_end(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        process_over(userdata, 0); /* it is no child of ours: nobody tells */
        return 0;
}

typedef struct Identity {
        uid_t uid;
        gid_t gid;
} Identity;

static int find_identity(const char *user, Identity *ret) {
        struct passwd entry, *found = NULL;
        char buffer[4096];

        if (getpwnam_r(user, &entry, buffer, sizeof(buffer), &found) != 0 || !found)
                return -ENOENT;
        *ret = (Identity){ found->pw_uid, found->pw_gid };
        return 0;
}

/* Where the program finds its descriptors, as the arguments tell it. */
#define FD_CONTROL 3
#define FD_DEVICE  4
#define FD_CLIENT  5

static void __attribute__((noreturn))
run(const char *path, Identity identity, int control, const IoProcessOptions *options) {
        char max_mapped[64], driver[96];
        const char *arguments[] = { path,       "--control=3", "--device=4", driver,
                                    max_mapped, NULL,          NULL,         NULL };
        unsigned n = 5;
        /* Above all three, so that none is overwritten before it was moved. */
        int from[] = { fcntl(control, F_DUPFD, 10), fcntl(options->device, F_DUPFD, 10),
                       options->client < 0 ? -1 : fcntl(options->client, F_DUPFD, 10) };

        for (int i = 0; i < 3; i++)
                if (from[i] >= 0) {
                        (void) dup2(from[i], FD_CONTROL + i);
                        close(from[i]);
                }
        snprintf(max_mapped, sizeof(max_mapped), "--max-memory=%" G_GUINT64_FORMAT,
                 options->max_mapped);
        snprintf(driver, sizeof(driver), "--driver=%s", options->driver);
        if (options->client >= 0)
                arguments[n++] = "--client=5";
        if (options->emulated)
                arguments[n++] = options->emulated;

        if (setgroups(0, NULL) < 0 || setresgid(identity.gid, identity.gid, identity.gid) < 0 ||
            setresuid(identity.uid, identity.uid, identity.uid) < 0)
                _exit(EXIT_FAILURE);
        execve(path, (char *const *) arguments, (char *const[]){ NULL });
        _exit(EXIT_FAILURE);
}

/* Its last reports are read before its end is handled. */
static int end_after_reports(IoProcess *process) {
        return sd_event_source_set_priority(process->exit, SD_EVENT_PRIORITY_NORMAL + 1);
}

static IoProcess *process_make(sd_event *event, const IoProcessFor *whom,
                               const IoProcessHandler *handler, void *context) {
        IoProcess *process = g_new0(IoProcess, 1);

        process->event = sd_event_ref(event);
        process->children = whom->children;
        process->key = whom->key;
        process->uid = whom->uid;
        process->control = process->pidfd = -1;
        process->handler = handler;
        process->context = context;
        return process;
}

static int listen_to(IoProcess *process, sd_event *event) {
        return sd_event_add_io(event, &process->report, process->control, EPOLLIN, on_report,
                               process);
}

int io_process_start(sd_event *event, const IoProgram *program, const IoProcessFor *whom,
                     const IoProcessOptions *options, const IoProcessHandler *handler,
                     void *context, IoProcess **ret) {
        _cleanup_(closep) int ours = -1, theirs = -1;
        IoProcess *process;
        Identity identity;
        int pair[2], r;
        pid_t pid;

        r = find_identity(program->user, &identity);
        if (r < 0)
                return r;
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
                return -errno;
        ours = pair[0];
        theirs = pair[1];
        pid = child_fork("vfwarden-io", (const int[]){ theirs, options->device, options->client },
                         3);
        if (pid == 0)
                run(program->path, identity, theirs, options);
        if (pid < 0)
                return (int) pid;

        process = process_make(event, whom, handler, context);
        process->reports = io_reports_new(options->emulated);
        process->pid = pid;
        process->control = take_fd(&ours);
        process->serves_client = options->client >= 0;
        r = sd_event_add_child(event, &process->exit, pid, WEXITED, on_child_end, process);
        if (r >= 0)
                r = end_after_reports(process);
        if (r >= 0)
                r = process_read_start_time(pid, &process->start_time);
        if (r >= 0)
                r = listen_to(process, event);
        if (r < 0) {
                io_process_free(process);
                return r;
        }
        *ret = process;
        return 0;
}

int io_process_adopt(sd_event *event, const IoProcessFor *whom, pid_t pid, uint64_t start_time,
                     int *control, const IoProcessHandler *handler, void *context,
                     IoProcess **ret) {
        IoProcess *process = process_make(event, whom, handler, context);
        uint64_t found = 0;
        int r;

        /* The descriptor first: then the pid cannot change hands between looking and watching. */
        process->pid = pid;
        process->start_time = start_time;
        process->reports = io_reports_adopted();
        process->serves_client = true;
        process->pidfd = (int) syscall(SYS_pidfd_open, pid, 0);
        r = process->pidfd < 0 ? -errno : process_read_start_time(pid, &found);
        if (r >= 0 && found != start_time)
                r = -ESRCH;
        if (r >= 0)
                r = sd_event_add_io(event, &process->exit, process->pidfd, EPOLLIN, on_adopted_end,
                                    process);
        if (r >= 0)
                r = end_after_reports(process);
        if (r >= 0) {
                process->control = *control;
                r = listen_to(process, event);
        }
        if (r < 0) {
                process->control = -1;
                io_process_free(process);
                return r;
        }
        *control = -1;
        *ret = process;
        return 0;
}

/* Nobody listens to it any more; it is reaped when it ends. */
static void leave(IoProcess *process) {
        const KilledChild child = {
                .pid = process->pid,
                .pidfd = take_fd(&process->pidfd),
                .name = "vfwarden-io",
                .key = process->key,
                .uid = process->uid,
                .late = process->late,
        };

        children_kill(process->children, &child);
}

IoProcess *io_process_free(IoProcess *process) {
        if (!process)
                return NULL;
        sd_event_source_disable_unref(process->report);
        sd_event_source_disable_unref(process->exit);
        sd_event_source_disable_unref(process->deadline);
        if (!process->over) {
                if (process->fault || process->late || !process->reports.began ||
                    !process->serves_client)
                        leave(process);
                else if (process->pidfd < 0)
                        child_forget(process->event, process->pid);
        }
        sd_event_unref(process->event);
        closep(&process->control);
        closep(&process->pidfd);
        g_free(process);
        return NULL;
}

void io_process_order(IoProcess *process, IoKind kind) {
        uint32_t order = kind;

        if (process->fault || !io_reports_may_order(&process->reports, kind))
                return;
        /* There is room for one of each kind. Who has none does not read. */
        if (send(process->control, &order, sizeof(order), MSG_DONTWAIT | MSG_NOSIGNAL) < 0 &&
            errno == EAGAIN) {
                io_process_kill(process, "vfwarden-io does not take orders");
                return;
        }
        io_reports_ordered(&process->reports, kind, 0);
        restart_deadline(process);
}

int io_process_request(IoProcess *process, const IoOrder *order) {
        size_t length = offsetof(IoOrder, data) + (order->kind == IO_STORE ? order->length : 0);

        if (process->fault || !io_reports_may_order(&process->reports, order->kind))
                return -EBUSY;
        if (send(process->control, order, length, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
                return -errno;
        io_reports_ordered(&process->reports, order->kind, order->length);
        return 0;
}

const char *io_process_fault(const IoProcess *process) {
        return process->fault;
}

pid_t io_process_pid(const IoProcess *process) {
        return process->pid;
}

uint64_t io_process_start_time(const IoProcess *process) {
        return process->start_time;
}

int io_process_control(const IoProcess *process) {
        return process->control;
}
