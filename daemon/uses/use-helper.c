#include "daemon/uses/use-helper.h"

#include "daemon/base/helper.h"
#include "daemon/base/log.h"
#include "daemon/base/process.h"
#include "daemon/base/util.h"
#include "daemon/base/wakeup.h"

#include <signal.h>
#include <string.h>
#include <sys/socket.h>

/* Below the time after which D-Bus clients stop waiting by themselves. */
#define HELPER_ANSWER_USEC (5 * 1000 * 1000ULL)
/* A loaded machine may need long for a look; but no look is without an end. */
#define HELPER_LOOK_USEC  (60 * 1000 * 1000ULL)
#define HELPER_RETRY_USEC (2 * 1000 * 1000ULL)
#define HELPER_STUCK_MAX  4
/* Reports that are taken in one turn of the event loop. */
#define REPORTS_MAX 256

/* What a look has found; both tables by PciKey*. */
typedef struct Told {
        GHashTable *uses;  /* GPtrArray of Use* */
        GHashTable *names; /* DeviceNames* */
        char *note;        /* what was left out; NULL: nothing */
} Told;

/* A pid alone may be another process's, once this one was reaped. */
typedef struct Stuck {
        pid_t pid;
        uint64_t start_time;
} Stuck;

struct UseHelper {
        sd_event *event;
        const UseSource *source;
        UseTask task;
        const UseHelperHandler *handler;
        void *context;
        HelperHandler process_handler;
        Helper *process;        /* NULL: none */
        sd_event_source *retry; /* begins another one */
        GArray *stuck;          /* of Stuck: killed, and perhaps not ended */
        uint64_t asked, answered;
        uint64_t sent; /* the last question that the process got */
        int result;
        bool waited_for;     /* it has a deadline */
        uint64_t since_usec; /* when that began, or the last answer came */
        Told told, coming;
};

static void names_destroy(gpointer names) {
        device_names_free(names);
}

static Told told_new(void) {
        return (Told){
                g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free,
                                      (GDestroyNotify) g_ptr_array_unref),
                g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, names_destroy),
                NULL,
        };
}

static void told_forget(Told *told) {
        g_hash_table_remove_all(told->uses);
        g_hash_table_remove_all(told->names);
        g_clear_pointer(&told->note, g_free);
}

static void told_clear(Told *told) {
        g_clear_pointer(&told->uses, g_hash_table_unref);
        g_clear_pointer(&told->names, g_hash_table_unref);
        g_clear_pointer(&told->note, g_free);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Told, told_clear)

uint64_t use_helper_answered(const UseHelper *helper) {
        return helper->answered;
}

int use_helper_result(const UseHelper *helper) {
        return helper->result;
}

const char *use_helper_note(const UseHelper *helper) {
        return helper->told.note;
}

const char *use_helper_what(const UseHelper *helper) {
        return helper->source->what;
}

const GPtrArray *use_helper_uses(const UseHelper *helper, PciKey key) {
        return g_hash_table_lookup(helper->told.uses, &key);
}

const DeviceNames *use_helper_names(const UseHelper *helper, PciKey key) {
        return g_hash_table_lookup(helper->told.names, &key);
}

/* --- what it tells */

static void use_helper_add_use(UseHelper *helper, const UseReport *report) {
        GPtrArray *uses = g_hash_table_lookup(helper->coming.uses, &report->key);

        if (report->kind >= _USE_KIND_MAX)
                return;
        if (!uses) {
                uses = use_list_new();
                g_hash_table_insert(helper->coming.uses,
                                    g_memdup2(&report->key, sizeof(report->key)), uses);
        }
        use_list_add(uses,
                     use_new((UseKind) report->kind, report->object, report->by, report->pid));
}

static void use_helper_add_name(UseHelper *helper, const UseReport *report) {
        DeviceNames *names = g_hash_table_lookup(helper->coming.names, &report->key);

        if (report->kind >= _DEVICE_NAME_KIND_MAX)
                return;
        if (!names) {
                names = device_names_new();
                g_hash_table_insert(helper->coming.names,
                                    g_memdup2(&report->key, sizeof(report->key)), names);
        }
        device_names_add(names, (DeviceNameKind) report->kind, report->object);
}

static void take_note(UseHelper *helper, const UseReport *report) {
        g_free(helper->coming.note);
        helper->coming.note = g_strdup(report->by);
}

static bool are_equal_uses(const void *a, const void *b) {
        return uses_equal(a, b);
}

static bool are_equal_names(const void *a, const void *b) {
        return device_names_equal(a, b);
}

/* Adds those functions of `a` of which `b` says something else, or nothing. */
static void use_helper_compare(GHashTable *a, GHashTable *b,
                               bool (*equal)(const void *, const void *), GHashTable *keys) {
        GHashTableIter iter;
        gpointer key, value;

        g_hash_table_iter_init(&iter, a);
        while (g_hash_table_iter_next(&iter, &key, &value))
                if (!equal(value, g_hash_table_lookup(b, key)))
                        g_hash_table_add(keys, key);
}

/* The functions, each once, of which the two say something else. The array is the caller's. */
static GArray *told_compare(const Told *a, const Told *b) {
        g_autoptr(GHashTable) differing = g_hash_table_new(g_int64_hash, g_int64_equal);
        GArray *keys = g_array_new(FALSE, FALSE, sizeof(PciKey));
        GHashTableIter iter;
        gpointer key;

        use_helper_compare(a->uses, b->uses, are_equal_uses, differing);
        use_helper_compare(b->uses, a->uses, are_equal_uses, differing);
        use_helper_compare(a->names, b->names, are_equal_names, differing);
        use_helper_compare(b->names, a->names, are_equal_names, differing);
        g_hash_table_iter_init(&iter, differing);
        while (g_hash_table_iter_next(&iter, &key, NULL))
                g_array_append_vals(keys, key, 1);
        return keys;
}

/* All that the look has found is there. Where it could not see everything, what was seen before may
 * be so still. */
static void take_uses(UseHelper *helper) {
        g_autoptr(GArray) keys = told_compare(&helper->told, &helper->coming);
        g_auto(Told) before = helper->told;

        helper->told = helper->coming;
        helper->coming = told_new();
        if (keys->len > 0)
                helper->handler->changed(helper->context, keys);
}

/* It has a deadline while a question is open, and a new one with each answer, or when it says that
 * it goes on. */
static int expect_answer(UseHelper *helper, bool anew) {
        bool wait = helper->answered != helper->asked;
        int r = 0;

        if (!helper->waited_for)
                helper->since_usec = now_usec();
        if (!helper->process || (wait == helper->waited_for && !anew))
                return 0;
        helper_clear_deadline(helper->process);
        if (wait)
                r = helper_set_deadline(helper->process, HELPER_ANSWER_USEC);
        helper->waited_for = wait && r >= 0;
        return r;
}

/* The process goes on. It has a new deadline, unless it has gone on for too long. Returns whether
 * it has. */
static bool wait_on(UseHelper *helper) {
        return now_usec() < helper->since_usec + HELPER_LOOK_USEC &&
               expect_answer(helper, true) >= 0;
}

/* Nothing more is known until another process has looked. */
static void use_helper_fail(UseHelper *helper, int error) {
        told_forget(&helper->coming);
        helper->process = helper_free(helper->process);
        helper->waited_for = false;
        helper->result = error;
        helper->answered = helper->asked;
        wakeup_within(helper->retry, HELPER_RETRY_USEC);
        helper->handler->looked(helper->context);
}

/* The last question, whose answer is one for all before. A process that has many unread ones gets
 * it after its next answer: an older one would be of a look that began before this was asked.
 * Returns 0 or a negative errno. */
static int send_question(UseHelper *helper) {
        const UseQuestion question = { .ticket = helper->asked };

        if (helper->sent == helper->asked)
                return 0;
        if (send(helper_channel(helper->process), &question, sizeof(question),
                 MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
                return errno == EAGAIN ? 0 : -errno;
        helper->sent = question.ticket;
        return 0;
}

static void take_end(UseHelper *helper, const UseReport *report) {
        /* It ends, and must not be asked any more. Its end is noticed later. */
        if (report->ticket == USE_TICKET_ALL) {
                use_helper_fail(helper, report->result);
                return;
        }
        /* A process may hide its uses for good; what was seen before is not kept for so long. */
        if (report->report == USE_REPORT_END &&
            (report->result == 0 || report->result == USE_PARTLY_SEEN))
                take_uses(helper);
        else
                told_forget(&helper->coming);
        helper->result = report->result;
        helper->answered = MIN(MAX(helper->answered, report->ticket), helper->asked);
        if (report->ticket != 0)
                helper->since_usec = now_usec();
        if (helper->answered != helper->asked)
                (void) send_question(helper); /* it fails where the process has ended */
        (void) expect_answer(helper, report->ticket != 0);
        helper->handler->looked(helper->context);
}

/* --- the process */

static unsigned use_helper_count_stuck(UseHelper *helper) {
        for (guint i = helper->stuck->len; i > 0; i--) {
                const Stuck *stuck = &g_array_index(helper->stuck, Stuck, i - 1);
                uint64_t start_time = 0;
                int r = process_read_start_time(stuck->pid, &start_time);

                if (r == -ESRCH || (r >= 0 && start_time != stuck->start_time))
                        g_array_remove_index_fast(helper->stuck, i - 1);
        }
        return helper->stuck->len;
}

static void use_helper_kill(UseHelper *helper) {
        Stuck stuck = { .pid = helper_pid(helper->process) };
        int r = process_read_start_time(stuck.pid, &stuck.start_time);

        helper_kill(helper->process);
        if (r >= 0)
                g_array_append_val(helper->stuck, stuck);
}

static void on_use_helper_due(void *context) {
        UseHelper *helper = context;
        pid_t pid = helper_pid(helper->process);

        /* It waits for a processor, on a busy machine, and for no lock. */
        if (process_is_running(pid) && wait_on(helper))
                return;
        log_warning("Failed to look at %s: process %d does not answer, and is ended",
                    helper->source->what, (int) pid);
        use_helper_kill(helper);
        use_helper_fail(helper, -ETIMEDOUT);
}

static void on_use_helper_ended(void *context, int killer) {
        /* A process that cannot look says why, and is forgotten (take_end()); this one did not. */
        use_helper_fail(context, -EPIPE);
}

static void on_use_helper_readable(void *context, int channel) {
        UseHelper *helper = context;
        UseReport report;

        for (unsigned i = 0; i < REPORTS_MAX; i++) {
                ssize_t n = recv(channel, &report, sizeof(report), MSG_DONTWAIT);

                if (n < 0 && (errno == EAGAIN || errno == EINTR))
                        return;
                if (n != sizeof(report)) { /* its end is reported besides */
                        helper_ignore(helper->process);
                        return;
                }
                report.object[sizeof(report.object) - 1] = report.by[sizeof(report.by) - 1] = '\0';
                if (report.report == USE_REPORT_USE)
                        use_helper_add_use(helper, &report);
                else if (report.report == USE_REPORT_NAME)
                        use_helper_add_name(helper, &report);
                else if (report.report == USE_REPORT_ALIVE)
                        (void) wait_on(helper);
                else if (report.report == USE_REPORT_NOTE)
                        take_note(helper, &report);
                else {
                        take_end(helper, &report);
                        return; /* a handler may have ended the process */
                }
        }
}

static int use_helper_start(UseHelper *helper) {
        if (use_helper_count_stuck(helper) >= HELPER_STUCK_MAX)
                return -EBUSY;
        return helper_fork(helper->event, &helper->process_handler, helper, use_child_run,
                           &helper->task, NULL, 0, &helper->process);
}

static int on_use_helper_retry(sd_event_source *source, uint64_t usec, void *userdata) {
        UseHelper *helper = userdata;
        int r = helper->process ? 0 : use_helper_start(helper);

        if (r < 0)
                wakeup_within(helper->retry, HELPER_RETRY_USEC);
        return 0;
}

uint64_t use_helper_ask(UseHelper *helper) {
        uint64_t ticket = ++helper->asked;
        int r = helper->process ? 0 : use_helper_start(helper);

        if (r >= 0)
                r = send_question(helper);
        if (r >= 0)
                r = expect_answer(helper, false);
        if (r < 0) {
                helper->result = r;
                helper->answered = helper->asked;
        }
        return ticket;
}

int use_helper_new(sd_event *event, const UseSource *source, const char *proc,
                   const UseHelperHandler *handler, void *context, UseHelper **ret) {
        UseHelper *helper = g_new0(UseHelper, 1);
        int r;

        helper->event = sd_event_ref(event);
        helper->source = source;
        helper->task = (UseTask){ source, proc };
        helper->handler = handler;
        helper->context = context;
        helper->process_handler = (HelperHandler){ .name = source->name,
                                                   .readable = on_use_helper_readable,
                                                   .due = on_use_helper_due,
                                                   .ended = on_use_helper_ended };
        helper->stuck = g_array_new(FALSE, FALSE, sizeof(Stuck));
        helper->result = -EINPROGRESS;
        helper->told = told_new();
        helper->coming = told_new();
        r = wakeup_new_timer(event, 0, on_use_helper_retry, helper, &helper->retry);
        if (r >= 0)
                r = sd_event_source_set_description(helper->retry, "use-helper: begin another");
        if (r >= 0)
                r = use_helper_start(helper);
        if (r < 0) {
                use_helper_free(helper);
                return r;
        }
        *ret = helper;
        return 0;
}

UseHelper *use_helper_free(UseHelper *helper) {
        if (!helper)
                return NULL;
        helper_free(helper->process);
        sd_event_source_disable_unref(helper->retry);
        told_clear(&helper->told);
        told_clear(&helper->coming);
        g_array_unref(helper->stuck);
        sd_event_unref(helper->event);
        g_free(helper);
        return NULL;
}
