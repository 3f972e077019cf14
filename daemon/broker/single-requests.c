#include "daemon/broker/single-requests.h"

#include "daemon/broker/session-entry.h"
#include "daemon/broker/sessions.h"

#include <errno.h>

/* Long enough for the next call of a script that starts a program for each, on a slow machine, too.
 * Short, because a program that opens the function's VFIO group by itself, and asks nobody, finds
 * it busy meanwhile. */
#define IDLE_USEC (300 * 1000ULL)

/* As for the start. */
#define ANSWER_TIMEOUT_USEC (20 * 1000 * 1000ULL)

static int on_idle_end(sd_event_source *source, uint64_t usec, void *userdata) {
        session_entry_end_idle(userdata);
        return 0;
}

static int on_single_request_timeout(sd_event_source *source, uint64_t usec, void *userdata) {
        session_entry_end(userdata, -ETIMEDOUT, "the device did not answer in time");
        return 0;
}

/* Whether a request of the user's can be the next one of an idle process. */
static bool fits(const SessionEntry *entry, const Function *function, uint32_t uid) {
        return entry->key == function->facts.key && entry->inode == function->facts.inode &&
               entry->session.idle && !entry->ending && entry->session.uid == uid &&
               entry->emulated == function->emulated && entry->driver == function->facts.driver &&
               function->state == FUNCTION_STATE_PRESENT;
}

static void on_reported(SessionEntry *entry, const IoReport *report) {
        const Function *function = inventory_get(entry->sessions->inventory, entry->key);
        SessionAnswered *answered = g_steal_pointer(&entry->answered);

        if (!answered)
                return;
        /* First: who hears of the answer may make the next request, or want the function for
         * something else. */
        entry->session.idle = true;
        if (!function || !fits(entry, function, entry->session.uid) ||
            session_entry_set_timer(entry, IDLE_USEC, on_idle_end) < 0)
                session_entry_end_idle(entry);
        answered(entry->context, report->error, g_strerror(-report->error), report);
}

bool single_requests_has_idle(const Sessions *sessions, const Function *function, uint32_t uid) {
        const SessionEntry *entry = sessions_find(sessions, function->facts.key);

        return entry && fits(entry, function, uid);
}

static int serve_next(SessionEntry *entry, const SessionRequest *request) {
        int r;

        r = io_process_request(entry->process, &entry->order);
        if (r >= 0)
                r = session_entry_set_timer(entry, ANSWER_TIMEOUT_USEC, on_single_request_timeout);
        if (r < 0)
                return r;
        entry->session.idle = false;
        if (entry->session.pid != request->pid) {
                session_entry_identify(entry, request->pid);
                session_entry_tell_change(entry);
        }
        return 0;
}

int single_requests_serve(Sessions *sessions, Function *function, const Config *config,
                          const SessionRequest *request, const IoOrder *order,
                          SessionAnswered *done, void *context) {
        SessionEntry *entry = sessions_find(sessions, function->facts.key);
        bool next = entry && fits(entry, function, request->uid);
        int r;

        if (!next) {
                r = sessions_check(sessions, function, config, request);
                if (r < 0)
                        return r;
                entry = session_entry_new(sessions, function, request);
                entry->session.single = true;
                entry->reported = on_reported;
        }
        entry->order = *order;
        entry->answered = done;
        entry->context = context;
        if (!next)
                return session_entry_start(entry, function);
        r = serve_next(entry, request);
        if (r < 0) {
                entry->answered = NULL;
                session_entry_end_idle(entry);
        }
        return r;
}

void single_requests_end_idle(Sessions *sessions, const Function *function,
                              const GPtrArray *related, uint32_t uid, SessionsIdleEnded *done,
                              void *context) {
        SessionWaiter *waiter = NULL;

        for (guint i = 0; i < related->len; i++) {
                const Function *other = related->pdata[i];
                SessionEntry *entry = sessions_find(sessions, other->facts.key);

                if (!entry || !entry->session.idle ||
                    (other == function && fits(entry, function, uid)))
                        continue;
                session_entry_end_idle(entry);
                if (!waiter)
                        waiter = session_waiter_new(sessions, done, context);
                session_entry_add_waiter(entry, waiter);
        }
        if (!waiter)
                done(context, 0);
}

void single_requests_function_changed(Sessions *sessions, const Function *function) {
        SessionEntry *entry = sessions_find(sessions, function->facts.key);

        /* Unbound by any program: the kernel waits for the last user. */
        if (entry && entry->driver != function->facts.driver)
                session_entry_end_idle(entry);
}
