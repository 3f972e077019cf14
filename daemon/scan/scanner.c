#include "daemon/scan/scanner.h"

#include "daemon/base/helper.h"
#include "daemon/base/log.h"
#include "daemon/base/process.h"
#include "daemon/base/util.h"
#include "daemon/base/wakeup.h"
#include "daemon/scan/scan-jobs.h"

#include <assert.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>

/* As long as it is at one process, and does not run, it hangs. */
#define HANG_USEC  (1000 * 1000ULL)
#define WATCH_USEC (250 * 1000ULL)
#define STUCK_MAX  8
/* Processes that one hung at. */
#define AVOID_MAX 64
/* A process that could not be looked at is tried again, at first and at most so much later: the
 * host may have stood still, and not the process. */
#define FORGIVE_MIN_USEC (5 * 1000 * 1000ULL)
#define FORGIVE_MAX_USEC (10 * 60 * 1000 * 1000ULL)
/* One that cannot be begun, or ends by itself, is begun again so much later. */
#define RETRY_USEC (1000 * 1000ULL)
/* Requests that the scanner has at a time: what is urgent waits for no more than these. */
#define SENT_MAX 32
/* Answers that are taken in one turn of the event loop. */
#define ANSWERS_MAX 32

struct Scanner {
        sd_event *event;
        HelperHandler process; /* what its processes are, and what is heard of them */
        const ScannerHandler *handler;
        void *context;
        VfioMarks *marks;
        Helper *helper; /* NULL: there is none */
        sd_event_source *watchdog;
        ScanProgress *progress;
        GHashTable *avoid;           /* pid -> ScanAvoided*, owned */
        GQueue urgent, queued, sent; /* of ScanRequest*, owned */
        GPtrArray *stuck;            /* of Helper*, owned: killed and perhaps not ended */
        uint64_t next_ticket;
        uint64_t steps, since_usec; /* as last seen, and since when */
        uint64_t retry_usec;        /* CLOCK_MONOTONIC before which none is begun */
        ScanAnswer *answer;         /* the one that is being received */
};

unsigned scanner_pending(const Scanner *scanner) {
        return scanner->urgent.length + scanner->queued.length + scanner->sent.length;
}

uint64_t scanner_next_ticket(const Scanner *scanner) {
        return scanner->next_ticket;
}

uint64_t scanner_oldest_ticket(const Scanner *scanner) {
        const GQueue *queues[] = { &scanner->urgent, &scanner->queued, &scanner->sent };
        uint64_t oldest = scanner->next_ticket;

        for (size_t i = 0; i < G_N_ELEMENTS(queues); i++)
                for (const GList *link = queues[i]->head; link; link = link->next)
                        oldest = MIN(oldest, ((const ScanRequest *) link->data)->ticket);
        return oldest;
}

/* --- its process */

static void send_requests(Scanner *scanner);

/* Asks all again, in their order. */
static void requeue(Scanner *scanner) {
        ScanRequest *request;

        while ((request = g_queue_pop_tail(&scanner->sent)))
                g_queue_push_head(&scanner->urgent, request);
}

static void drop_process(Scanner *scanner) {
        Helper *helper = g_steal_pointer(&scanner->helper);

        if (!helper)
                return;
        helper_kill(helper);
        helper_hang_up(helper);
        g_ptr_array_add(scanner->stuck, helper);
        requeue(scanner);
}

static unsigned scanner_count_stuck(Scanner *scanner) {
        for (guint i = scanner->stuck->len; i > 0; i--)
                if (helper_has_ended(scanner->stuck->pdata[i - 1]))
                        g_ptr_array_remove_index_fast(scanner->stuck, i - 1);
        return scanner->stuck->len;
}

static void start_watchdog(Scanner *scanner) {
        scanner->steps = atomic_load(&scanner->progress->steps);
        scanner->since_usec = now_usec();
        (void) sd_event_source_set_time_relative(scanner->watchdog, WATCH_USEC);
        (void) sd_event_source_set_enabled(scanner->watchdog, SD_EVENT_ONESHOT);
}

/* Returns whether there is more. */
static bool scanner_receive(Scanner *scanner) {
        ScanAnswer *answer = scanner->answer;
        ssize_t n = recv(helper_channel(scanner->helper), answer, sizeof(*answer), MSG_DONTWAIT);
        ScanRequest *request = NULL;
        GList *link = NULL;

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return false;
        if (n != sizeof(*answer)) {
                log_warning("Failed to look at processes: the process that does it has ended; it "
                            "is started again");
                drop_process(scanner);
                scanner->retry_usec = now_usec() + RETRY_USEC;
                start_watchdog(scanner);
                return false;
        }
        for (link = scanner->sent.head; link; link = link->next) {
                request = link->data;
                if (request->ticket == answer->ticket)
                        break;
        }
        if (!link)
                return true;
        if (answer->kind == SCAN_KIND_DONE)
                g_queue_delete_link(&scanner->sent, link);
        scanner->handler->answer(scanner->context, request, answer);
        if (answer->kind == SCAN_KIND_DONE)
                g_free(request);
        return scanner->helper != NULL;
}

static void on_answers(void *context, int channel) {
        Scanner *scanner = context;

        for (unsigned i = 0; i < ANSWERS_MAX && scanner_receive(scanner); i++)
                ;
        send_requests(scanner);
}

static GArray *descriptors_of_child(const Scanner *scanner) {
        GArray *all = g_array_new(FALSE, FALSE, sizeof(int));
        GHashTableIter iter;
        const ScanAvoided *avoided;

        if (scanner->marks) {
                int fd = vfio_marks_fd(scanner->marks);

                g_array_append_val(all, fd);
        }
        g_hash_table_iter_init(&iter, scanner->avoid);
        while (g_hash_table_iter_next(&iter, NULL, (gpointer *) &avoided))
                g_array_append_val(all, avoided->pidfd);
        return all;
}

static void run_process(void *task, int channel) {
        const Scanner *scanner = task;
        ScanChild child = { .channel = channel,
                            .marks = scanner->marks,
                            .progress = scanner->progress,
                            .avoid = scanner->avoid };

        scan_jobs_run(&child);
}

static int scanner_start_process(Scanner *scanner) {
        g_autoptr(GArray) keep = descriptors_of_child(scanner);

        assert(!scanner->helper && g_queue_is_empty(&scanner->sent));
        atomic_store(&scanner->progress->pid, 0);
        return helper_fork(scanner->event, &scanner->process, scanner, run_process, scanner,
                           (const int *) (void *) keep->data, keep->len, &scanner->helper);
}

static bool ensure_process(Scanner *scanner) {
        int r;

        if (scanner->helper)
                return true;
        if (now_usec() < scanner->retry_usec || scanner_count_stuck(scanner) >= STUCK_MAX)
                return false;
        r = scanner_start_process(scanner);
        if (r < 0) {
                log_warning("Failed to start the process that looks at others: %s", g_strerror(-r));
                scanner->retry_usec = now_usec() + RETRY_USEC;
        }
        return r >= 0;
}

/* --- requests */

static void send_requests(Scanner *scanner) {
        if (scanner->urgent.length + scanner->queued.length == 0)
                return;
        if (!ensure_process(scanner)) {
                start_watchdog(scanner);
                return;
        }
        if (scanner->sent.length == 0)
                start_watchdog(scanner);
        while (scanner->sent.length < SENT_MAX) {
                ScanRequest *request = g_queue_pop_head(&scanner->urgent);

                if (!request)
                        request = g_queue_pop_head(&scanner->queued);
                if (!request)
                        break;
                /* A request that cannot be sent now is sent with the next answer, or to another
                 * scanner. */
                if (send(helper_channel(scanner->helper), request, sizeof(*request),
                         MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
                        g_queue_push_head(&scanner->urgent, request);
                        break;
                }
                g_queue_push_tail(&scanner->sent, request);
        }
}

/* The scanner has what it leaves out from the fork: another one begins. */
static void forgive(Scanner *scanner) {
        uint64_t now = now_usec();
        GHashTableIter iter;
        ScanAvoided *avoided;
        bool any = false;

        g_hash_table_iter_init(&iter, scanner->avoid);
        while (g_hash_table_iter_next(&iter, NULL, (gpointer *) &avoided)) {
                bool now_again = (avoided->what & SCAN_AVOID_LOOKING) && avoided->end_usec <= now;

                if (now_again)
                        avoided->what &= ~(unsigned) SCAN_AVOID_LOOKING;
                any |= now_again;
        }
        if (any)
                drop_process(scanner);
}

uint64_t scanner_ask(Scanner *scanner, ScanRequest *request, bool urgent) {
        if (request->task == SCAN_TASK_WALK)
                forgive(scanner);
        request->ticket = scanner->next_ticket++;
        g_queue_push_tail(urgent ? &scanner->urgent : &scanner->queued,
                          g_memdup2(request, sizeof(*request)));
        send_requests(scanner);
        return request->ticket;
}

/* --- when it hangs */

static void free_avoided(gpointer data) {
        ScanAvoided *avoided = data;

        closep(&avoided->pidfd);
        g_free(avoided);
}

static gboolean scanner_has_ended(gpointer pid, gpointer value, gpointer unused) {
        struct pollfd pollfd = { .fd = ((const ScanAvoided *) value)->pidfd, .events = POLLIN };

        return poll(&pollfd, 1, 0) != 0;
}

static void avoid(Scanner *scanner, pid_t pid, ScanAvoid what) {
        ScanAvoided *avoided = g_hash_table_lookup(scanner->avoid, GINT_TO_POINTER(pid));
        int fd;

        if (!avoided && g_hash_table_size(scanner->avoid) < AVOID_MAX) {
                fd = (int) syscall(SYS_pidfd_open, pid, 0);
                if (fd < 0)
                        return;
                avoided = g_new0(ScanAvoided, 1);
                avoided->pidfd = fd;
                avoided->uid = UINT32_MAX;
                (void) process_read_uid(pid, &avoided->uid);
                g_hash_table_insert(scanner->avoid, GINT_TO_POINTER(pid), avoided);
        }
        if (avoided)
                avoided->what |= (unsigned) what;
        if (avoided && what == SCAN_AVOID_LOOKING) {
                avoided->wait_usec =
                        CLAMP(2 * avoided->wait_usec, FORGIVE_MIN_USEC, FORGIVE_MAX_USEC);
                avoided->end_usec = now_usec() + avoided->wait_usec;
        }
        if (scanner->handler->hung)
                scanner->handler->hung(scanner->context, pid, what);
}

static void replace_process(Scanner *scanner, pid_t pid, pid_t peer) {
        log_warning("Failed to look at process %d: the kernel does not answer; it is left out",
                    pid);
        drop_process(scanner);
        g_hash_table_foreach_remove(scanner->avoid, scanner_has_ended, NULL);
        if (peer == SCAN_PEER_STAT)
                avoid(scanner, pid, SCAN_AVOID_STAT);
        else if (peer == SCAN_PEER_NONE)
                avoid(scanner, pid, SCAN_AVOID_LOOKING);
        else {
                avoid(scanner, pid, SCAN_AVOID_COMPARING);
                avoid(scanner, peer, SCAN_AVOID_COMPARING);
        }
        send_requests(scanner);
}

static int on_scanner_watchdog(sd_event_source *source, uint64_t usec, void *userdata) {
        Scanner *scanner = userdata;
        uint64_t steps = atomic_load(&scanner->progress->steps);
        pid_t pid = atomic_load(&scanner->progress->pid);
        pid_t peer = atomic_load(&scanner->progress->peer);

        if (scanner_pending(scanner) == 0)
                return 0;
        if (!scanner->helper) {
                send_requests(scanner);
                if (!scanner->helper)
                        start_watchdog(scanner);
                return 0;
        }
        /* A scanner that waits for the processor does not hang. */
        if (steps != scanner->steps || process_is_running(helper_pid(scanner->helper))) {
                start_watchdog(scanner);
                return 0;
        }
        if (now_usec() - scanner->since_usec >= HANG_USEC) {
                replace_process(scanner, pid, peer);
                return 0;
        }
        (void) sd_event_source_set_time_relative(scanner->watchdog, WATCH_USEC);
        (void) sd_event_source_set_enabled(scanner->watchdog, SD_EVENT_ONESHOT);
        return 0;
}

static void free_helper(gpointer helper) {
        helper_free(helper);
}

int scanner_new(sd_event *event, const char *name, VfioMarks *marks, const ScannerHandler *handler,
                void *context, Scanner **ret) {
        Scanner *scanner = g_new0(Scanner, 1);
        int r;

        scanner->event = sd_event_ref(event);
        scanner->process = (HelperHandler){ .name = name, .readable = on_answers };
        scanner->marks = marks;
        scanner->handler = handler;
        scanner->context = context;
        scanner->next_ticket = 1;
        scanner->avoid = g_hash_table_new_full(NULL, NULL, NULL, free_avoided);
        scanner->stuck = g_ptr_array_new_with_free_func(free_helper);
        scanner->answer = g_new0(ScanAnswer, 1);
        g_queue_init(&scanner->urgent);
        g_queue_init(&scanner->queued);
        g_queue_init(&scanner->sent);
        scanner->progress = mmap(NULL, sizeof(*scanner->progress), PROT_READ | PROT_WRITE,
                                 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        r = scanner->progress == MAP_FAILED ? -errno : 0;
        if (r < 0)
                scanner->progress = NULL;
        else
                r = wakeup_new_timer(event, 0, on_scanner_watchdog, scanner, &scanner->watchdog);
        if (r >= 0)
                r = sd_event_source_set_description(scanner->watchdog, "scanner: watchdog");
        if (r < 0) {
                scanner_free(scanner);
                return r;
        }
        *ret = scanner;
        return 0;
}

Scanner *scanner_free(Scanner *scanner) {
        if (!scanner)
                return NULL;
        drop_process(scanner);
        sd_event_source_disable_unref(scanner->watchdog);
        g_queue_clear_full(&scanner->urgent, g_free);
        g_queue_clear_full(&scanner->queued, g_free);
        g_queue_clear_full(&scanner->sent, g_free);
        g_hash_table_unref(scanner->avoid);
        g_ptr_array_unref(scanner->stuck);
        if (scanner->progress)
                (void) munmap(scanner->progress, sizeof(*scanner->progress));
        g_free(scanner->answer);
        sd_event_unref(scanner->event);
        g_free(scanner);
        return NULL;
}
