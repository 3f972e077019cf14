#include "daemon/guard/worker.h"

#include "daemon/base/helper.h"
#include "daemon/base/util.h"
#include "policy/absence.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* The child's report before it ends. */
typedef struct Report {
        uint32_t step;
        int32_t error;
} Report;

struct Worker {
        Plan *plan; /* NULL when adopted */
        Helper *helper;
        bool waits; /* the process, for our word: it has done nothing yet */
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

static int check_unbound(const GPtrArray *links) {
        for (guint i = 0; links && i < links->len; i++)
                if (faccessat(AT_FDCWD, links->pdata[i], F_OK, AT_SYMLINK_NOFOLLOW) == 0)
                        return EBUSY;
                else if (!errno_means_absent(-errno))
                        return errno;
        return 0;
}

static int run_step(const PlanStep *step, int fd) {
        _cleanup_(closep) int opened = -1;
        int error = check_unbound(step->unbound);

        if (error != 0)
                return error;
        if (fd < 0) {
                opened = open(step->path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
                if (opened < 0)
                        return errno;
                fd = opened;
        }
        return write_value(fd, step->value);
}

/* What the process is given. */
typedef struct Task {
        const Plan *plan;
        const int *fds; /* of the steps; negative: to be opened in its turn */
} Task;

/* The process. Leaves by _exit(): nothing of the parent's is to be flushed or freed. */
static void run_plan(void *data, int channel) {
        const Task *task = data;
        const Plan *plan = task->plan;
        Report result = { 0 };
        char go;

        /* Nothing is done before the daemon has noted who does it; or at all, if it could not. */
        if (read(channel, &go, sizeof(go)) != sizeof(go))
                _exit(EXIT_FAILURE);

        for (guint i = 0; i < plan->steps->len && result.error == 0; i++) {
                result.step = i;
                result.error = run_step(plan->steps->pdata[i], task->fds[i]);
        }
        for (guint i = 0; result.error != 0 && i < plan->undo->len; i++)
                (void) run_step(plan->undo->pdata[i], -1);
        (void) send(channel, &result, sizeof(result), MSG_NOSIGNAL);
        _exit(result.error == 0 ? EXIT_SUCCESS : EXIT_FAILURE);
}

static void on_worker_ended(void *context, int killer) {
        Worker *worker = context;
        WorkerResult result = { 0 };
        Report report;

        worker->waits = false;
        if (worker->plan) {
                /* Killed, or out of memory, when it has not said anything. */
                if (recv(helper_channel(worker->helper), &report, sizeof(report), MSG_DONTWAIT) !=
                    sizeof(report))
                        report = (Report){ .error = EIO };
                result.error = report.error;
                if (report.step < worker->plan->steps->len)
                        result.path = ((PlanStep *) worker->plan->steps->pdata[report.step])->path;
        }
        worker->done(worker->context, &result);
}

static const HelperHandler helper_handler = {
        .name = "vfwarden-worker",
        .waits = true,
        .ended = on_worker_ended,
};

static Worker *worker_new(WorkerDone *done, void *context) {
        Worker *worker = g_new0(Worker, 1);

        worker->done = done;
        worker->context = context;
        return worker;
}

int worker_start(sd_event *event, Plan *plan, WorkerOpen *open_file, WorkerDone *done,
                 void *context, Worker **ret) {
        g_autofree int *fds = g_new(int, plan->steps->len);
        Task task = { plan, fds };
        Worker *worker = worker_new(done, context);
        int r;

        /* A file that cannot be opened now, because an earlier step makes it, is opened by the
         * child in its turn. */
        for (guint i = 0; i < plan->steps->len; i++)
                fds[i] = open_file(context, ((PlanStep *) plan->steps->pdata[i])->path);
        r = helper_fork(event, &helper_handler, worker, run_plan, &task, fds, plan->steps->len,
                        &worker->helper);
        for (guint i = 0; i < plan->steps->len; i++)
                closep(&fds[i]);
        if (r < 0) {
                worker_free(worker);
                return r;
        }
        worker->plan = plan;
        worker->waits = true;
        *ret = worker;
        return 0;
}

int worker_go(Worker *worker) {
        char go = 0;

        assert(worker->plan); /* one that was found again has begun long ago */
        worker->waits = false;
        return send(helper_channel(worker->helper), &go, sizeof(go), MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int worker_adopt(sd_event *event, pid_t pid, uint64_t start_time, WorkerDone *done, void *context,
                 Worker **ret) {
        Worker *worker = worker_new(done, context);
        int r = helper_adopt(event, &helper_handler, worker, pid, start_time, NULL,
                             &worker->helper);

        if (r < 0) {
                worker_free(worker);
                return r;
        }
        *ret = worker;
        return 0;
}

pid_t worker_pid(const Worker *worker) {
        return helper_pid(worker->helper);
}

uint64_t worker_start_time(const Worker *worker) {
        return helper_start_time(worker->helper);
}

Worker *worker_free(Worker *worker) {
        if (!worker)
                return NULL;
        if (worker->waits)
                helper_discard(worker->helper);
        else
                helper_free(worker->helper);
        plan_free(worker->plan);
        g_free(worker);
        return NULL;
}
