/* activity.h: how much functions are used, from one reading of the daemon's counters to the next.
 *
 * Owns the counts that were read last. Always holds: a rate is one of two reports of the same
 * session, and what cannot be, such as a count that went down, is no rate: vfwarden-io, which
 * reports the counts, is not trusted. */
#pragma once

#include <json-glib/json-glib.h>
#include <stdbool.h>

typedef struct ActivityRates {
        bool known;
        double loads, stores, bytes; /* in a second */
} ActivityRates;

typedef struct ActivityRow {
        char *address;
        gint64 users, violations;
        gint64 session_pid, session_uid; /* pid 0: no session */
        bool counted;                    /* its counts are known, now and not only sometimes */
        gint64 counted_usec, loads, stores, bytes;
        ActivityRates rates;
} ActivityRow;

typedef struct Activity {
        GPtrArray *rows; /* of ActivityRow*, in the daemon's order */
        gint64 more;     /* functions that the daemon left out */
} Activity;

void activity_init(Activity *activity);
void activity_done(Activity *activity);

/* Takes over what Statistics.DescribeFunctions() told, an array of objects. */
void activity_take(Activity *activity, JsonArray *told);

/* The daemon was away: its counters began anew. */
void activity_forget(Activity *activity);

/* Whether there is a session whose counts may be read and whose rates are not known yet. */
bool activity_awaits_rates(const Activity *activity);

/* The busiest first: a GPtrArray of the rows, which stay the activity's. */
GPtrArray *activity_sorted(const Activity *activity);
