/* Single loads and stores: each by a process vfwarden-io, which idle for the next one.
 *
 * Opening a device takes two processes and a reset of the device; who loads twice in a row should
 * pay for it once. A process that only idle serves nobody, so it is in nobody's way: whatever else
 * is wanted of the function ends it first. A pending request counts as any session does. */
#include "daemon/broker/session-entry.h"

#include <errno.h>

/* Long enough for the next call of a script that starts a program for each, on a slow machine, too.
 * Short, because a program that opens the function's VFIO group by itself, and asks nobody, finds
 * it busy meanwhile. */
#define IDLE_USEC (300 * 1000ULL)

/* As for the start. */
#define ANSWER_TIMEOUT_USEC (20 * 1000 * 1000ULL)

/* A process that waits in recv() dies at once, but the kernel resets the device when it is closed.
 * The request for the function goes on after this time, and finds the function as it is. */
#define LET_GO_TIMEOUT_USEC (2 * 1000 * 1000ULL)

struct SessionWaiter {
        Sessions *sessions;
        unsigned n_entries; /* that have not ended */
        sd_event_source *due;
        SessionsLetGo *done;
        void *context;
};

static void waiter_tell(SessionWaiter *waiter, int result) {
        g_ptr_array_remove_fast(waiter->sessions->waiters, waiter);
        waiter->done(waiter->context, result);
        sd_event_source_disable_unref(waiter->due);
        g_free(waiter);
}

static int on_due(sd_event_source *source, void *userdata) {
        waiter_tell(userdata, 0);
        return 0;
}

void single_requests_tell_waiters(GPtrArray *waiters) {
        for (guint i = 0; waiters && i < waiters->len; i++) {
                SessionWaiter *waiter = waiters->pdata[i];

                if (--waiter->n_entries > 0)
                        continue;
                /* The code that ended the last one may be in the middle of reading the function. */
                if (sd_event_add_defer(waiter->sessions->event, &waiter->due, on_due, waiter) < 0)
                        waiter_tell(waiter, -ECANCELED);
        }
        g_clear_pointer(&waiters, g_ptr_array_unref);
}

void single_requests_cancel_waiters(Sessions *sessions) {
        while (sessions->waiters->len > 0)
                waiter_tell(sessions->waiters->pdata[0], -ECANCELED);
}

static int on_let_go_timeout(sd_event_source *source, uint64_t usec, void *userdata) {
        SessionEntry *entry = userdata;

        single_requests_tell_waiters(g_steal_pointer(&entry->waiters));
        return 0;
}

void single_request_let_go(SessionEntry *entry) {
        if (!entry->session.idle || entry->ending)
                return;
        entry->ending = true;
        io_process_kill(entry->process, "the function is wanted");
        (void) session_entry_set_timer(entry, LET_GO_TIMEOUT_USEC, on_let_go_timeout);
}

static int on_idle_end(sd_event_source *source, uint64_t usec, void *userdata) {
        single_request_let_go(userdata);
        return 0;
}

static int on_answer_timeout(sd_event_source *source, uint64_t usec, void *userdata) {
        session_entry_end(userdata, -ETIMEDOUT, "the device did not answer in time");
        return 0;
}

void single_request_ready(SessionEntry *entry) {
        if (io_process_request(entry->process, &entry->order) < 0)
                session_entry_end(entry, -EIO, "vfwarden-io does not take the request");
}

/* Whether a request of the user's can be the next one of an idle process. */
static bool fits(const SessionEntry *entry, const Function *function, uint32_t uid) {
        return entry->key == function->facts.key && entry->inode == function->facts.inode &&
               entry->session.idle && !entry->ending && entry->session.uid == uid &&
               entry->emulated == function->emulated && entry->driver == function->facts.driver &&
               function->state == FUNCTION_STATE_PRESENT;
}

void single_request_reported(SessionEntry *entry, const IoReport *report) {
        const Function *function = inventory_get(entry->sessions->inventory, entry->key);
        SessionAnswered *answered = g_steal_pointer(&entry->answered);

        if (!answered)
                return;
        /* First: who hears of the answer may make the next request, or want the function for
         * something else. */
        entry->session.idle = true;
        if (!function || !fits(entry, function, entry->session.uid) ||
            session_entry_set_timer(entry, IDLE_USEC, on_idle_end) < 0)
                single_request_let_go(entry);
        answered(entry->context, report->error, g_strerror(-report->error), report);
}

bool sessions_idle(const Sessions *sessions, const Function *function, uint32_t uid) {
        const SessionEntry *entry = sessions_find(sessions, function->facts.key);

        return entry && fits(entry, function, uid);
}

static int serve_next(SessionEntry *entry, const SessionRequest *request) {
        int r;

        r = io_process_request(entry->process, &entry->order);
        if (r >= 0)
                r = session_entry_set_timer(entry, ANSWER_TIMEOUT_USEC, on_answer_timeout);
        if (r < 0)
                return r;
        entry->session.idle = false;
        if (entry->session.pid != request->pid) {
                session_entry_identify(entry, request->pid);
                session_entry_tell_change(entry);
        }
        return 0;
}

int sessions_request(Sessions *sessions, Function *function, const Config *config,
                     const SessionRequest *request, const IoOrder *order, SessionAnswered *done,
                     void *context) {
        SessionEntry *entry = sessions_find(sessions, function->facts.key);
        bool next = entry && fits(entry, function, request->uid);
        int r;

        if (!next) {
                r = sessions_check(sessions, function, config, request);
                if (r < 0)
                        return r;
                entry = session_entry_new(sessions, function, request);
                entry->session.single = true;
        }
        entry->order = *order;
        entry->answered = done;
        entry->context = context;
        if (!next)
                return session_entry_start(entry, function);
        r = serve_next(entry, request);
        if (r < 0) {
                entry->answered = NULL;
                single_request_let_go(entry);
        }
        return r;
}

void sessions_let_go(Sessions *sessions, const Function *function, const GPtrArray *related,
                     uint32_t uid, SessionsLetGo *done, void *context) {
        SessionWaiter *waiter = NULL;

        for (guint i = 0; i < related->len; i++) {
                const Function *other = related->pdata[i];
                SessionEntry *entry = sessions_find(sessions, other->facts.key);

                if (!entry || !entry->session.idle ||
                    (other == function && fits(entry, function, uid)))
                        continue;
                single_request_let_go(entry);
                if (!waiter) {
                        waiter = g_new0(SessionWaiter, 1);
                        waiter->sessions = sessions;
                        waiter->done = done;
                        waiter->context = context;
                        g_ptr_array_add(sessions->waiters, waiter);
                }
                if (!entry->waiters)
                        entry->waiters = g_ptr_array_new();
                g_ptr_array_add(entry->waiters, waiter);
                waiter->n_entries++;
        }
        if (!waiter)
                done(context, 0);
}

void sessions_function_changed(Sessions *sessions, const Function *function) {
        SessionEntry *entry = sessions_find(sessions, function->facts.key);

        /* Unbound by any program: the kernel waits for the last user. */
        if (entry && entry->driver != function->facts.driver)
                single_request_let_go(entry);
}
