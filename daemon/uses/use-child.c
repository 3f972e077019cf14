#include "daemon/uses/use-child.h"

#include "daemon/base/util.h"
#include "policy/client-text.h"

#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

/* An interface that is moved, or a disk that is mounted, sends several events. */
#define GATHER_USEC (20 * 1000ULL)
/* After a look that took a time, events lead to the next one only after so many times that: a user
 * that can make looks expensive can often cause the events, too. */
#define COST_FACTOR 9
/* After a look that failed. */
#define AGAIN_USEC (1000 * 1000ULL)
/* Between two reports that a look goes on. */
#define ALIVE_USEC (1000 * 1000ULL)

/* How many uses of a function are among those found: of warnings, and of those that stand against
 * operations. */
typedef struct UseCounts {
        unsigned n[2];
} UseCounts;

struct UseChild {
        const UseTask *task;
        int channel;
        void *state;
        GArray *watched;      /* of struct pollfd; the first is the channel */
        GArray *found, *told; /* of UseReport: of this look, and as the daemon knows them */
        GHashTable *counts;   /* PciKey -> UseCounts, among `found` */
        bool has_told;
        bool has_noted;        /* in this look */
        guint n_uses, n_names; /* among `found` */
        uint64_t ticket;       /* of the latest question */
        bool asked, event;     /* there is something to do */
        uint64_t event_usec;   /* when the look for `event` is due */
        uint64_t cost_usec;    /* of the last look */
        uint64_t alive_usec;   /* when the daemon last heard that this one goes on */
};

const char *use_child_proc(const UseChild *child) {
        return child->task->proc;
}

void use_child_watch(UseChild *child, int fd, short events) {
        struct pollfd watched = { .fd = fd, .events = events };

        g_array_append_val(child->watched, watched);
}

static void copy_text(char *to, size_t size, const char *text) {
        g_autofree char *valid = client_text_fit(text, size - 1);

        g_strlcpy(to, valid, size);
}

static void begin_report(UseReport *report, UseReportKind what, PciKey key, uint32_t kind,
                         const char *object) {
        /* With its padding: reports are compared as bytes. */
        memset(report, 0, sizeof(*report));
        report->report = what;
        report->key = key;
        report->kind = kind;
        copy_text(report->object, sizeof(report->object), object);
}

static UseCounts *counts_of(const UseChild *child, PciKey key) {
        UseCounts *counts = g_hash_table_lookup(child->counts, &key);

        if (!counts) {
                counts = g_new0(UseCounts, 1);
                g_hash_table_insert(child->counts, g_memdup2(&key, sizeof(key)), counts);
        }
        return counts;
}

/* Counts a use, unless it is left out. The daemon keeps no more of one function. Beyond USES_MAX,
 * one that stands against operations is reported of each function: a user can make any number of
 * uses, and hides none of another function with them. */
static bool count_use(UseChild *child, PciKey key, bool stands) {
        UseCounts *counts = counts_of(child, key);

        if (counts->n[stands] >= USES_OF_FUNCTION_MAX)
                return false;
        if (child->n_uses >= USES_MAX && (!stands || counts->n[true] > 0)) {
                use_child_note(child, "there are too many uses to list them all");
                return false;
        }
        counts->n[stands]++;
        child->n_uses++;
        return true;
}

void use_child_add(UseChild *child, PciKey key, UseKind kind, const char *object, const char *by,
                   uint32_t pid) {
        UseReport report;

        if (!count_use(child, key, use_kind_stands(kind)))
                return;
        begin_report(&report, USE_REPORT_USE, key, kind, object);
        report.pid = pid;
        copy_text(report.by, sizeof(report.by), by);
        g_array_append_val(child->found, report);
}

void use_child_add_name(UseChild *child, PciKey key, DeviceNameKind kind, const char *name) {
        UseReport report;

        if (child->n_names >= USE_NAMES_MAX)
                return;
        begin_report(&report, USE_REPORT_NAME, key, kind, name);
        g_array_append_val(child->found, report);
        child->n_names++;
}

void use_child_note(UseChild *child, const char *text) {
        UseReport report;

        if (child->has_noted)
                return;
        child->has_noted = true;
        begin_report(&report, USE_REPORT_NOTE, 0, 0, "");
        copy_text(report.by, sizeof(report.by), text);
        g_array_append_val(child->found, report);
}

/* --- telling */

static void send_report(const UseChild *child, const UseReport *report) {
        ssize_t n;

        do
                n = send(child->channel, report, sizeof(*report), MSG_NOSIGNAL);
        while (n < 0 && errno == EINTR);
        if (n < 0)
                _exit(EXIT_SUCCESS); /* the daemon has ended, or has enough of this one */
}

void use_child_go_on(UseChild *child) {
        const UseReport alive = { .report = USE_REPORT_ALIVE };
        uint64_t now = now_usec();

        if (now < child->alive_usec + ALIVE_USEC)
                return;
        child->alive_usec = now;
        send_report(child, &alive);
}

static bool is_as_told(const UseChild *child) {
        return child->has_told && child->found->len == child->told->len &&
               (child->found->len == 0 || memcmp(child->found->data, child->told->data,
                                                 child->found->len * sizeof(UseReport)) == 0);
}

static void use_child_tell(UseChild *child, int result, bool asked, uint64_t ticket) {
        UseReport end = { .report = USE_REPORT_END, .result = result, .ticket = ticket };
        GArray *swap = child->told;

        if (result == 0 && is_as_told(child)) {
                end.report = USE_REPORT_UNCHANGED;
                if (asked)
                        send_report(child, &end);
                return;
        }
        for (guint i = 0; i < child->found->len; i++)
                send_report(child, &g_array_index(child->found, UseReport, i));
        send_report(child, &end);
        child->told = child->found;
        child->found = swap;
        child->has_told = result == 0;
}

static void use_child_look(UseChild *child) {
        bool asked = child->asked;
        uint64_t ticket = child->ticket;
        uint64_t begin_usec = now_usec();
        int r;

        child->asked = child->event = child->has_noted = false;
        child->n_uses = child->n_names = 0;
        g_hash_table_remove_all(child->counts);
        g_array_set_size(child->found, 0);
        child->alive_usec = begin_usec;
        r = child->task->source->look(child, child->state);
        child->cost_usec = now_usec() - begin_usec;
        use_child_tell(child, r, asked, ticket);
        if (r < 0) { /* no event says that the reason has gone */
                child->event = true;
                child->event_usec = now_usec() + AGAIN_USEC;
        }
}

/* --- waiting */

static int patience_msec(const UseChild *child) {
        uint64_t now = now_usec();

        if (child->asked)
                return 0;
        if (!child->event)
                return -1;
        return child->event_usec <= now ? 0 : (int) ((child->event_usec - now) / 1000 + 1);
}

static void take_question(UseChild *child) {
        UseQuestion question;
        ssize_t n = recv(child->channel, &question, sizeof(question), MSG_DONTWAIT);

        if (n == sizeof(question)) {
                child->ticket = question.ticket;
                child->asked = true;
        } else if (n >= 0 || (errno != EAGAIN && errno != EINTR))
                _exit(EXIT_SUCCESS);
}

static void take_event(UseChild *child, int fd) {
        if (!child->task->source->event(child->state, fd) || child->event)
                return;
        child->event = true;
        child->event_usec = now_usec() + MAX(GATHER_USEC, COST_FACTOR * child->cost_usec);
}

static void wait_for_work(UseChild *child) {
        struct pollfd *watched = (struct pollfd *) (void *) child->watched->data;

        if (poll(watched, child->watched->len, patience_msec(child)) <= 0)
                return;
        for (guint i = 1; i < child->watched->len; i++)
                if (watched[i].revents != 0)
                        take_event(child, watched[i].fd);
        if (watched[0].revents != 0)
                take_question(child);
}

/* Others matter more, also while a stranger makes the looks expensive. An event wakes the daemon
 * and this process at once: SCHED_BATCH keeps this one from running first (sched(7)), also when an
 * administrator gave the daemon a real-time priority, which is inherited. The unit refuses both
 * calls: a filter that allowed them would allow them to the daemon, too. */
static void step_back(void) {
        (void) sched_setscheduler(0, SCHED_BATCH, &(struct sched_param){ .sched_priority = 0 });
        (void) setpriority(PRIO_PROCESS, 0, 5);
}

void use_child_run(void *task, int channel) {
        UseChild child = { .task = task, .channel = channel };
        int r;

        step_back();
        child.watched = g_array_new(FALSE, FALSE, sizeof(struct pollfd));
        child.found = g_array_new(FALSE, FALSE, sizeof(UseReport));
        child.told = g_array_new(FALSE, FALSE, sizeof(UseReport));
        child.counts = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, g_free);
        use_child_watch(&child, channel, POLLIN);
        /* Listening comes before looking, so that nothing falls between. */
        r = child.task->source->open(&child, &child.state);
        if (r < 0) {
                use_child_tell(&child, r, true, USE_TICKET_ALL);
                _exit(EXIT_FAILURE);
        }
        child.event = true;
        for (;;) {
                if (child.asked || (child.event && child.event_usec <= now_usec()))
                        use_child_look(&child);
                wait_for_work(&child);
        }
}
