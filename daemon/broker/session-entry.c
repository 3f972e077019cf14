#include "daemon/broker/session-entry.h"

#include "daemon/base/log.h"
#include "daemon/base/process.h"
#include "daemon/base/util.h"
#include "daemon/base/wakeup.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>

/* From the request to the answer, and below the time after which D-Bus clients stop waiting by
 * themselves. */
#define START_TIMEOUT_USEC (20 * 1000 * 1000ULL)
#define TIMER_ACCURACY     (10 * 1000ULL)

/* After vfwarden-io has reported that the device is closed, until that is looked at: as long as
 * users are updated by then. */
#define CLOSED_CHECK_USEC (5 * 1000 * 1000ULL)

/* A process that waits in recv() dies at once, but the kernel resets the device when it is closed.
 * The request for the function goes on after this time, and finds the function as it is. */
#define END_IDLE_TIMEOUT_USEC (2 * 1000 * 1000ULL)

/* --- those who wait for its end */

struct SessionWaiter {
        Sessions *sessions;
        unsigned n_entries; /* that have not ended */
        sd_event_source *due;
        SessionsIdleEnded *done;
        void *context;
};

static void waiter_tell(SessionWaiter *waiter, int result) {
        g_ptr_array_remove_fast(waiter->sessions->waiters, waiter);
        waiter->done(waiter->context, result);
        sd_event_source_disable_unref(waiter->due);
        g_free(waiter);
}

static int on_session_due(sd_event_source *source, void *userdata) {
        waiter_tell(userdata, 0);
        return 0;
}

static void tell_waiters(GPtrArray *waiters) {
        for (guint i = 0; waiters && i < waiters->len; i++) {
                SessionWaiter *waiter = waiters->pdata[i];

                if (--waiter->n_entries > 0)
                        continue;
                /* The code that ended the last one may be in the middle of reading the function. */
                if (sd_event_add_defer(waiter->sessions->event, &waiter->due, on_session_due,
                                       waiter) < 0)
                        waiter_tell(waiter, -ECANCELED);
                else
                        (void) sd_event_source_set_description(waiter->due, "sessions: waiter");
        }
        g_clear_pointer(&waiters, g_ptr_array_unref);
}

void session_waiters_cancel(Sessions *sessions) {
        while (sessions->waiters->len > 0)
                waiter_tell(sessions->waiters->pdata[0], -ECANCELED);
}

SessionWaiter *session_waiter_new(Sessions *sessions, SessionsIdleEnded *done, void *context) {
        SessionWaiter *waiter = g_new0(SessionWaiter, 1);

        waiter->sessions = sessions;
        waiter->done = done;
        waiter->context = context;
        g_ptr_array_add(sessions->waiters, waiter);
        return waiter;
}

void session_entry_add_waiter(SessionEntry *entry, SessionWaiter *waiter) {
        if (!entry->waiters)
                entry->waiters = g_ptr_array_new();
        g_ptr_array_add(entry->waiters, waiter);
        waiter->n_entries++;
}

/* --- the entry */

void session_entry_free(gpointer data) {
        SessionEntry *entry = data;

        sd_event_source_disable_unref(entry->timer);
        vfio_open_free(entry->open);
        io_process_free(entry->process);
        closep(&entry->client);
        closep(&entry->served);
        closep(&entry->listener);
        g_free(entry->session.command);
        g_free(entry->session.unit);
        g_ref_string_release(entry->driver);
        g_clear_pointer(&entry->waiters, g_ptr_array_unref);
        g_free(entry);
}

char *session_entry_fd_name(const SessionEntry *entry) {
        return g_strdup_printf("session-%" PRIu64, entry->number);
}

/* The function, if it is the same device still. */
static Function *entry_function(const SessionEntry *entry) {
        return inventory_get_device(entry->sessions->inventory, entry->key, entry->inode);
}

void session_entry_tell_change(const SessionEntry *entry) {
        entry->sessions->handler->changed(entry->sessions->context, entry->key);
}

int session_entry_set_timer(SessionEntry *entry, uint64_t usec, sd_event_time_handler_t callback) {
        entry->timer = sd_event_source_disable_unref(entry->timer);
        return wakeup_new_deadline(entry->sessions->event, "sessions: deadline", usec,
                                   TIMER_ACCURACY, callback, entry, &entry->timer);
}

void session_entry_tell(SessionEntry *entry, int result, const char *message) {
        SessionOpened *opened = g_steal_pointer(&entry->opened);
        SessionAnswered *answered = g_steal_pointer(&entry->answered);

        if (opened)
                opened(entry->context, result, message, entry->client, &entry->session);
        if (answered)
                answered(entry->context, result, message, NULL);
        closep(&entry->client);
        entry->client = -1;
}

void session_entry_end(SessionEntry *entry, int result, const char *message) {
        Sessions *sessions = entry->sessions;
        Function *function = entry->gone ? NULL : entry_function(entry);
        g_autofree char *name = session_entry_fd_name(entry);
        GPtrArray *waiters = g_steal_pointer(&entry->waiters);
        PciKey key = entry->key;
        gboolean was_listed;

        session_entry_tell(entry, result, message);
        if (function)
                function->session = NULL;
        if (!entry->session.single)
                fd_store_drop(sessions->store, name);
        was_listed = g_ptr_array_remove(sessions->entries, entry);
        assert(was_listed);
        sessions->handler->changed(sessions->context, key);
        tell_waiters(waiters);
}

static int on_end_timeout(sd_event_source *source, uint64_t usec, void *userdata) {
        SessionEntry *entry = userdata;

        tell_waiters(g_steal_pointer(&entry->waiters));
        return 0;
}

void session_entry_end_idle(SessionEntry *entry) {
        if (!entry->session.idle || entry->ending)
                return;
        entry->ending = true;
        io_process_kill(entry->process, "the function is wanted");
        (void) session_entry_set_timer(entry, END_IDLE_TIMEOUT_USEC, on_end_timeout);
}

/* Why it ended, for people: why it was killed, or with which error it said good-bye. */
static char *end_text(const SessionEntry *entry, int killer) {
        const char *fault = io_process_fault(entry->process);

        if (fault && !entry->ending)
                return g_strdup_printf("vfwarden-io was ended: %s", fault);
        if (killer != 0 && !entry->ending)
                return g_strdup_printf("vfwarden-io was killed by SIG%s (%s)",
                                       sigabbrev_np(killer) ? sigabbrev_np(killer) : "?",
                                       killer == SIGSYS ? "a system call that it must not make"
                                                        : strsignal(killer));
        return entry->error < 0 ? g_strdup(g_strerror(-entry->error)) : NULL;
}

static void on_session_helper_ended(void *context, int killer) {
        SessionEntry *entry = context;
        PciAddress address = pci_address_from_key(entry->key);
        g_autofree char *why = end_text(entry, killer);

        if (entry->session.ready && (!entry->session.single || killer != 0) && !entry->ending)
                log_full(why ? LOG_NOTICE : LOG_INFO, &address, NULL,
                         "the I/O session of %s (pid %u) has ended%s%s", entry->session.command,
                         entry->session.pid, why ? ": " : "", why ? why : "");
        entry->sessions->handler->process_ended(entry->sessions->context);
        session_entry_end(entry, -EIO,
                          why                    ? why
                          : entry->session.ready ? "vfwarden-io ended before it had answered"
                                                 : "vfwarden-io ended before it was ready");
}

/* Nobody waits for it. The client's end of the socket is closed for it; the device is in use until
 * the process has ended. */
static void on_hangs(void *context) {
        SessionEntry *entry = context;
        PciAddress address = pci_address_from_key(entry->key);

        log_full(
                LOG_WARNING, &address, NULL,
                "the I/O session of %s (pid %u) has ended, but process %u (vfwarden-io) hangs in the kernel",
                entry->session.command, entry->session.pid, entry->session.io_pid);
        if (entry->served >= 0)
                (void) shutdown(entry->served, SHUT_RDWR);
        session_entry_end(entry, -EIO, "vfwarden-io hangs in the kernel");
}

void session_entry_detach(SessionEntry *entry) {
        Function *function = entry->gone ? NULL : entry_function(entry);

        entry->gone = true;
        if (function)
                function->session = NULL;
        session_entry_tell_change(entry);
}

/* An honest process has closed the device by now. */
static int on_closed_check(sd_event_source *source, uint64_t usec, void *userdata) {
        SessionEntry *entry = userdata;

        entry->timer = sd_event_source_disable_unref(entry->timer);
        if (entry->has_device)
                io_process_kill(entry->process, "vfwarden-io keeps the device open");
        else if (!entry->gone)
                session_entry_detach(entry);
        return 0;
}

/* The client may keep its socket for as long as it likes. So it stops to be a user as soon as the
 * device is seen closed (sessions_function_changed()). */
static void on_device_closed(SessionEntry *entry) {
        entry->closed = true;
        if (session_entry_set_timer(entry, CLOSED_CHECK_USEC, on_closed_check) < 0)
                io_process_kill(entry->process, "no timer can be made for vfwarden-io");
        session_entry_tell_change(entry);
}

static void take_facts(SessionEntry *entry, const IoReport *report) {
        IoSession *session = &entry->session;

        session->ready = true;
        session->relaxed = report->relaxed;
        session->pieces = report->pieces;
        session->max_store_block = report->max_store_block;
        g_strlcpy(session->backend, report->backend, sizeof(session->backend));
}

/* Counts change all the time, and are no news. */
static void on_session_status(SessionEntry *entry, const IoReport *report) {
        bool known = entry->session.backend[0] != '\0';

        entry->session.counts = report->counts;
        entry->session.counted_usec = (uint64_t) g_get_real_time();
        take_facts(entry, report);
        if (!known)
                session_entry_tell_change(entry);
}

static void on_ready(SessionEntry *entry, const IoReport *report) {
        g_autofree char *name = session_entry_fd_name(entry);
        PciAddress address = pci_address_from_key(entry->key);
        int r;

        take_facts(entry, report);
        if (entry->session.single) {
                if (io_process_request(entry->process, &entry->order) < 0)
                        session_entry_end(entry, -EIO, "vfwarden-io does not take the request");
                return;
        }
        entry->timer = sd_event_source_disable_unref(entry->timer);
        r = fd_store_keep(entry->sessions->store, name, io_process_control(entry->process));
        if (r < 0) {
                entry->session.ready = false; /* nobody has had it */
                io_process_kill(entry->process, "its session cannot be kept");
                session_entry_end(entry, -EIO, fd_store_error(r));
                return;
        }
        log_full(LOG_INFO, &address, NULL, "I/O session of %s (pid %u, uid %u) by %s%s",
                 entry->session.command, entry->session.pid, entry->session.uid,
                 entry->session.backend, entry->dma ? ", with DMA" : "");
        session_entry_tell_change(entry);
        session_entry_tell(entry, 0, NULL);
}

static void on_session_report(void *context, const IoReport *report) {
        SessionEntry *entry = context;
        g_autofree char *message = NULL;

        switch (report->kind) {
        case IO_READY:
                on_ready(entry, report);
                break;
        case IO_FAILED:
                message = report->error == -ENOENT
                                  ? g_strdup("vfwarden-io, or its user, is not installed")
                                  : g_strdup_printf("the device cannot be served: %s",
                                                    g_strerror(-report->error));
                session_entry_end(entry, report->error == -EOPNOTSUPP ? -EOPNOTSUPP : -EIO,
                                  message);
                break;
        case IO_LOAD:
        case IO_STORE:
                assert(!entry->session.single || entry->reported);
                if (entry->session.single)
                        entry->reported(entry, report);
                break;
        case IO_STATUS:
                on_session_status(entry, report);
                break;
        case IO_END:
        case IO_GONE:
                on_device_closed(entry);
                break;
        case IO_CLOSED:
                entry->error = report->error;
                break;
        default:
                break;
        }
}

IoProcessFor session_entry_whom(const SessionEntry *entry) {
        return (IoProcessFor){
                .children = entry->sessions->children,
                .key = entry->key,
                .uid = entry->session.uid,
                .max_mapped = entry->max_mapped,
        };
}

static void end_unstarted(SessionEntry *entry, int r) {
        g_autofree char *message =
                g_strdup_printf("vfwarden-io cannot be started: %s", g_strerror(-r));

        session_entry_end(entry, -EIO, message);
}

/* The descriptors stay the caller's. */
static void serve(SessionEntry *entry, int device, int container) {
        int r = io_process_serve(entry->process, &(IoProcessOptions){
                                                         .client = entry->served,
                                                         .listener = entry->listener,
                                                         .device = device,
                                                         .driver = entry->driver,
                                                         .emulated = entry->emulated,
                                                         .dma = entry->dma,
                                                         .container = container,
                                                         .max_mapped = entry->max_mapped,
                                                 });

        closep(&entry->listener);
        if (r < 0)
                end_unstarted(entry, r);
        else
                session_entry_tell_change(entry); /* whose process it is that has it open now */
}

static void on_session_device_opened(void *context, int fd, int second, const char *step) {
        SessionEntry *entry = context;
        _cleanup_(vfio_open_freep) VfioOpen *open = g_steal_pointer(&entry->open);
        /* Closed before `open` is freed. */
        _cleanup_(closep) int device = fd, container = second;
        g_autofree char *message = NULL;

        if (fd < 0) {
                message = g_strdup_printf("it cannot be opened: %s: %s", step, g_strerror(-fd));
                session_entry_end(entry, fd == -EBUSY ? -EBUSY : -EIO, message);
                return;
        }
        if (!entry_function(entry)) {
                session_entry_end(entry, -ENODEV, "the function has gone meanwhile");
                return;
        }
        serve(entry, device, container);
}

static void on_opening(void *context, pid_t pid) {
        SessionEntry *entry = context;

        entry->session.opener_pid = (uint32_t) pid;
}

/* The process is there before the device is opened: so the device is never the daemon's for longer
 * than it takes to pass it on. */
static void on_process_started(void *context, int result) {
        SessionEntry *entry = context;
        Sessions *sessions = entry->sessions;
        const Function *function = entry_function(entry);
        VfioOpenFor whom = {
                .spawner = sessions->spawner,
                .children = sessions->children,
                .key = entry->key,
                .uid = entry->session.uid,
                .begun = on_opening,
        };

        if (result >= 0)
                entry->session.io_pid = (uint32_t) io_process_pid(entry->process);
        if (result >= 0 && entry->emulated)
                result = emulated_devices_get(sessions->emulated, entry->key);
        if (result < 0)
                end_unstarted(entry, result);
        else if (!function)
                session_entry_end(entry, -ENODEV, "the function has gone meanwhile");
        else if (entry->emulated)
                serve(entry, result, -1);
        else {
                result = vfio_open_start(&whom, function, entry->dma, on_session_device_opened,
                                         entry, &entry->open);
                if (result < 0)
                        session_entry_end(entry, result, "it cannot be opened");
        }
}

const IoProcessHandler session_entry_process_handler = {
        .started = on_process_started,
        .report = on_session_report,
        .ended = on_session_helper_ended,
        .hangs = on_hangs,
};

static int on_start_timeout(sd_event_source *source, uint64_t usec, void *userdata) {
        session_entry_end(userdata, -ETIMEDOUT, "it was not opened in time");
        return 0;
}

void session_entry_identify(SessionEntry *entry, uint32_t pid) {
        entry->session.pid = pid;
        g_free(entry->session.command);
        g_free(entry->session.unit);
        process_describe((pid_t) pid, &entry->session.command, &entry->session.unit);
}

SessionEntry *session_entry_new(Sessions *sessions, const Function *function,
                                const SessionRequest *request) {
        SessionEntry *entry = g_new0(SessionEntry, 1);

        entry->sessions = sessions;
        entry->client = entry->listener = entry->served = -1;
        entry->key = function->facts.key;
        entry->inode = function->facts.inode;
        entry->number = sessions->next_number++;
        entry->max_mapped = request->max_mapped;
        entry->driver = g_ref_string_acquire(function->facts.driver);
        entry->emulated = request->emulated;
        entry->dma = request->dma;
        entry->session.uid = request->uid;
        entry->session.since_usec = (uint64_t) g_get_real_time();
        session_entry_identify(entry, request->pid);
        return entry;
}

int session_entry_start(SessionEntry *entry, Function *function) {
        IoProcessFor whom = session_entry_whom(entry);
        int r = entry->emulated || function->facts.iommu_group >= 0 ? 0 : -EOPNOTSUPP;

        if (r >= 0)
                r = session_entry_set_timer(entry, START_TIMEOUT_USEC, on_start_timeout);
        if (r >= 0)
                r = io_process_start(entry->sessions->spawner, &whom,
                                     &session_entry_process_handler, entry, &entry->process);
        if (r < 0) {
                session_entry_free(entry);
                return r;
        }
        g_ptr_array_add(entry->sessions->entries, entry);
        function->session = &entry->session;
        session_entry_tell_change(entry);
        return 0;
}
