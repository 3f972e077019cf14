#include "daemon/base/worker.h"

#include "daemon/base/helper.h"
#include "daemon/base/process.h"
#include "daemon/base/util.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* The child's report before it ends. */
typedef struct Report {
        uint32_t step;
        int32_t error;
} Report;

struct Worker {
        Plan *plan; /* NULL when adopted */
        pid_t pid;
        uint64_t start_time;
        int pidfd;   /* of one that was adopted, else -1 */
        int channel; /* to the child, -1 when adopted */
        bool waits;  /* the child, for our word: it has done nothing yet */
        sd_event_source *source;
        WorkerDone *done;
        void *context;
};

/* Writes the whole value at once: sysfs takes it as one. */
static int write_value(int fd, const char *value) {
        size_t length = strlen(value);
        ssize_t n = write(fd, value, length);

        if (n < 0)
                return errno;
        return (size_t) n == length ? 0 : EIO;
}

static int run_step(const PlanStep *step, int fd) {
        _cleanup_(closep) int opened = -1;

        if (fd < 0) {
                opened = open(step->path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
                if (opened < 0)
                        return errno;
                fd = opened;
        }
        return write_value(fd, step->value);
}

/* The child. Leaves by _exit(): nothing of the parent's is to be flushed or freed. */
static void __attribute__((noreturn)) run_plan(const Plan *plan, const int *fds, int channel) {
        Report result = { 0 };
        char go;

        /* Nothing is done before the daemon has noted who does it; or at all, if it could not. */
        if (read(channel, &go, sizeof(go)) != sizeof(go))
                _exit(EXIT_FAILURE);

        for (guint i = 0; i < plan->steps->len && result.error == 0; i++) {
                result.step = i;
                result.error = run_step(plan->steps->pdata[i], fds[i]);
        }
        for (guint i = 0; result.error != 0 && i < plan->undo->len; i++)
                (void) run_step(plan->undo->pdata[i], -1);
        (void) send(channel, &result, sizeof(result), MSG_NOSIGNAL);
        _exit(result.error == 0 ? EXIT_SUCCESS : EXIT_FAILURE);
}

static void end(Worker *worker) {
        WorkerResult result = { 0 };
        Report report;

        worker->waits = false;

        (void) sd_event_source_set_enabled(worker->source, SD_EVENT_OFF);
        if (worker->plan) {
                /* Killed, or out of memory, when it has not said anything. */
                if (recv(worker->channel, &report, sizeof(report), MSG_DONTWAIT) != sizeof(report))
                        report = (Report){ .error = EIO };
                result.error = report.error;
                if (report.step < worker->plan->steps->len)
                        result.path = ((PlanStep *) worker->plan->steps->pdata[report.step])->path;
        }
        worker->done(worker->context, &result);
}

static int on_child_end(sd_event_source *source, const siginfo_t *info, void *userdata) {
        end(userdata);
        return 0;
}

static int on_adopted_end(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        end(userdata);
        return 0;
}

static Worker *worker_new(Plan *plan, pid_t pid, WorkerDone *done, void *context) {
        Worker *worker = g_new0(Worker, 1);

        worker->plan = plan;
        worker->pid = pid;
        worker->pidfd = -1;
        worker->channel = -1;
        worker->done = done;
        worker->context = context;
        return worker;
}

static void close_all(int *fds, guint n) {
        for (guint i = 0; i < n; i++)
                closep(&fds[i]);
}

int worker_start(sd_event *event, Plan *plan, WorkerOpen *open_file, WorkerDone *done,
                 void *context, Worker **ret) {
        g_autofree int *fds = g_new(int, plan->steps->len + 1);
        _cleanup_(closep) int ours = -1, theirs = -1;
        Worker *worker;
        int pair[2], r;
        pid_t pid;

        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
                return -errno;
        ours = pair[0];
        theirs = pair[1];

        /* A file that cannot be opened now, because an earlier step makes it, is opened by the
         * child in its turn. */
        for (guint i = 0; i < plan->steps->len; i++)
                fds[i] = open_file(context, ((PlanStep *) plan->steps->pdata[i])->path);
        fds[plan->steps->len] = theirs;
        pid = helper_fork_process("vfwarden-worker", fds, plan->steps->len + 1);
        if (pid == 0)
                run_plan(plan, fds, theirs);
        close_all(fds, plan->steps->len);
        if (pid < 0)
                return (int) pid;

        worker = worker_new(plan, pid, done, context);
        worker->channel = take_fd(&ours);
        worker->waits = true;
        r = process_read_start_time(pid, &worker->start_time);
        if (r >= 0)
                r = sd_event_add_child(event, &worker->source, pid, WEXITED, on_child_end, worker);
        if (r < 0) {
                worker->plan = NULL;
                worker_free(worker);
                return r;
        }
        *ret = worker;
        return 0;
}

int worker_go(Worker *worker) {
        char go = 0;

        worker->waits = false;
        return send(worker->channel, &go, sizeof(go), MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int worker_adopt(sd_event *event, pid_t pid, uint64_t start_time, WorkerDone *done, void *context,
                 Worker **ret) {
        Worker *worker = worker_new(NULL, pid, done, context);
        uint64_t found = 0;
        int r;

        /* The descriptor first: then the pid cannot change hands between looking and watching. */
        worker->pidfd = (int) syscall(SYS_pidfd_open, pid, 0);
        r = worker->pidfd < 0 ? -errno : process_read_start_time(pid, &found);
        if (r >= 0 && found != start_time)
                r = -ESRCH;
        if (r >= 0)
                r = sd_event_add_io(event, &worker->source, worker->pidfd, EPOLLIN, on_adopted_end,
                                    worker);
        if (r < 0) {
                worker_free(worker);
                return r;
        }
        worker->start_time = start_time;
        *ret = worker;
        return 0;
}

pid_t worker_pid(const Worker *worker) {
        return worker->pid;
}

uint64_t worker_start_time(const Worker *worker) {
        return worker->start_time;
}

/* One that never began. It has touched no device, so nothing in the kernel keeps it: this waits for
 * no longer than a process takes to die, and leaves no zombie. */
static void end_child(pid_t pid) {
        (void) kill(pid, SIGKILL);
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
                ;
}

Worker *worker_free(Worker *worker) {
        if (!worker)
                return NULL;
        sd_event_source_disable_unref(worker->source);
        if (worker->waits)
                end_child(worker->pid);
        closep(&worker->pidfd);
        closep(&worker->channel);
        plan_free(worker->plan);
        g_free(worker);
        return NULL;
}
