#include "daemon/broker/io-process.h"

#include "daemon/broker/packet.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

/* An order that is no access to the device is obeyed within microseconds, but for the end, which
 * waits for one access and the device's reset (vfio_pci_core_close_device()). */
#define ORDER_TIMEOUT_USEC (5 * 1000 * 1000ULL)
/* Nobody waits for a status, and what is ended for want of one is a session that was promised: a
 * host on which a process gets no turn for seconds must not lose it. */
#define STATUS_TIMEOUT_USEC (20 * 1000 * 1000ULL)

/* Single requests have a deadline of their own, which is the device's. */
#define TIMED_ORDERS (1U << IO_STATUS | 1U << IO_DRAIN | 1U << IO_END | 1U << IO_GONE)

struct IoProcess {
        Children *children;
        PciKey key;
        uint32_t uid;
        uint64_t max_mapped;
        Helper *helper;
        IoReports reports;
        bool serves_client;
        bool patient; /* the pending IO_STATUS has no deadline */
        bool late;    /* killed, and has not ended in time */
        const char *fault;
        const IoProcessHandler *handler;
        void *context;
};

void io_process_kill(IoProcess *process, const char *why) {
        if (helper_has_ended(process->helper) || process->fault)
                return;
        process->fault = why;
        helper_ignore(process->helper);
        helper_kill(process->helper);
        if (helper_set_deadline(process->helper, CHILDREN_GRACE_USEC) < 0)
                process->late = true;
}

static void on_order_due(void *context) {
        IoProcess *process = context;

        if (!process->fault) {
                io_process_kill(process, "vfwarden-io did not obey in time");
                return;
        }
        process->late = true;
        process->handler->hangs(process->context);
}

/* The process is given time for what it has to do still; each of its answers is progress. */
static void restart_deadline(IoProcess *process) {
        unsigned timed = process->patient ? TIMED_ORDERS & ~(1U << IO_STATUS) : TIMED_ORDERS;
        unsigned pending = process->reports.pending & timed;
        bool status_only = pending == 1U << IO_STATUS && !process->reports.ended;
        uint64_t usec = status_only ? STATUS_TIMEOUT_USEC : ORDER_TIMEOUT_USEC;

        if (process->fault)
                return;
        if (pending == 0 && !process->reports.ended)
                helper_clear_deadline(process->helper);
        else if (helper_set_deadline(process->helper, usec) < 0)
                io_process_kill(process, "no timer can be made for vfwarden-io");
}

static void on_report(void *context, int channel) {
        IoProcess *process = context;
        uint8_t packet[sizeof(IoReport) + 1]; /* one byte more: what is too long is seen to be */
        IoReport report;
        IoFault fault;
        ssize_t n;

        n = recv(channel, packet, sizeof(packet), MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return;
        if (n <= 0) {
                /* It is about to end, and another event reports its end; or it only closed its
                 * socket. */
                helper_ignore(process->helper);
                process->reports.ended = true;
                restart_deadline(process);
                return;
        }
        fault = io_report_take(&process->reports, packet, (size_t) n, &report);
        if (fault != IO_FAULT_NONE) {
                io_process_kill(process, io_fault_to_string(fault));
                return;
        }
        process->patient = process->patient && report.kind != IO_STATUS;
        restart_deadline(process);
        process->handler->report(process->context, &report);
}

static void on_io_process_started(void *context, int result) {
        const IoProcess *process = context;

        process->handler->started(process->context, result);
}

static void on_io_process_ended(void *context, int killer) {
        const IoProcess *process = context;

        helper_ignore(process->helper);
        process->handler->ended(process->context, killer);
}

static const HelperHandler helper_handler = {
        .name = "vfwarden-io",
        .started = on_io_process_started,
        .readable = on_report,
        .due = on_order_due,
        .ended = on_io_process_ended,
};

static IoProcess *process_make(const IoProcessFor *whom, const IoProcessHandler *handler,
                               void *context) {
        IoProcess *process = g_new0(IoProcess, 1);

        process->children = whom->children;
        process->key = whom->key;
        process->uid = whom->uid;
        process->max_mapped = whom->max_mapped;
        process->handler = handler;
        process->context = context;
        return process;
}

int io_process_start(Spawner *spawner, const IoProcessFor *whom, const IoProcessHandler *handler,
                     void *context, IoProcess **ret) {
        IoProcess *process = process_make(whom, handler, context);
        int r = spawner_start(spawner, SPAWN_IO, &helper_handler, process, &process->helper);

        if (r < 0) {
                io_process_free(process);
                return r;
        }
        *ret = process;
        return 0;
}

int io_process_serve(IoProcess *process, const IoProcessOptions *options) {
        const int given[] = { options->device, options->client, options->listener,
                              options->container };
        IoTask task = {
                .max_mapped = options->max_mapped,
                .single = options->client < 0,
                .emulated = options->emulated,
                .listens = options->listener >= 0,
                .dma = options->dma,
        };
        int fds[IO_TASK_FDS_MAX];
        unsigned n = 0;

        for (unsigned i = 0; i < G_N_ELEMENTS(given); i++)
                if (given[i] >= 0)
                        fds[n++] = given[i];

        g_strlcpy(task.driver, options->driver, sizeof(task.driver));
        process->reports = io_reports_new(options->emulated);
        process->serves_client = options->client >= 0;
        return packet_send(helper_channel(process->helper), &task, sizeof(task), fds, n);
}

int io_process_adopt(sd_event *event, const IoProcessFor *whom, pid_t pid, uint64_t start_time,
                     int *control, const IoProcessHandler *handler, void *context,
                     IoProcess **ret) {
        IoProcess *process = process_make(whom, handler, context);
        int r;

        process->reports = io_reports_adopted();
        process->serves_client = true;
        r = helper_adopt(event, &helper_handler, process, pid, start_time, control,
                         &process->helper);
        if (r < 0) {
                io_process_free(process);
                return r;
        }
        *ret = process;
        return 0;
}

/* Nobody listens to it any more; it is reaped when it ends. */
static void leave(IoProcess *process) {
        const KilledChild child = {
                .pidfd = -1,
                .key = process->key,
                .uid = process->uid,
                .memory = process->max_mapped,
                .late = process->late,
        };

        process->helper = helper_condemn(process->helper, process->children, &child);
}

IoProcess *io_process_free(IoProcess *process) {
        if (!process)
                return NULL;
        if (process->fault || process->late || !process->reports.began || !process->serves_client)
                leave(process);
        helper_free(process->helper);
        g_free(process);
        return NULL;
}

void io_process_order(IoProcess *process, IoKind kind) {
        uint32_t order = kind;

        if (process->fault || !io_reports_may_order(&process->reports, kind))
                return;
        /* There is room for one of each kind. Who has none does not read. */
        if (send(helper_channel(process->helper), &order, sizeof(order),
                 MSG_DONTWAIT | MSG_NOSIGNAL) < 0 &&
            errno == EAGAIN) {
                io_process_kill(process, "vfwarden-io does not take orders");
                return;
        }
        io_reports_ordered(&process->reports, kind, 0);
        restart_deadline(process);
}

void io_process_ask_counts(IoProcess *process) {
        if (!io_reports_may_order(&process->reports, IO_STATUS))
                return;
        process->patient = true;
        io_process_order(process, IO_STATUS);
}

int io_process_request(IoProcess *process, const IoOrder *order) {
        size_t length = offsetof(IoOrder, data) + (order->kind == IO_STORE ? order->length : 0);

        if (process->fault || !io_reports_may_order(&process->reports, order->kind))
                return -EBUSY;
        if (send(helper_channel(process->helper), order, length, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
                return -errno;
        io_reports_ordered(&process->reports, order->kind, order->length);
        return 0;
}

const char *io_process_fault(const IoProcess *process) {
        return process->fault;
}

pid_t io_process_pid(const IoProcess *process) {
        return helper_pid(process->helper);
}

uint64_t io_process_start_time(const IoProcess *process) {
        return helper_start_time(process->helper);
}

int io_process_control(const IoProcess *process) {
        return helper_channel(process->helper);
}
