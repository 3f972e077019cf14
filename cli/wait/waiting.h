/* waiting.h: shows who an unplug or an operation waits for.
 *
 * Owns the holders that were seen since it began, and how they are shown: on a terminal as lines
 * that are drawn again, each with what became of the holder, and below them how long it has been
 * and how long it may still be; elsewhere as one line for each change. */
#pragma once

#include "cli/context.h"
#include "cli/wait/redraw.h"

/* So often it is looked again, and drawn again. */
#define WAITING_INTERVAL_USEC (1 * G_USEC_PER_SEC)

typedef struct Waiting {
        Redraw redraw;
        GPtrArray *seen; /* of Waited, private to waiting.c */
        gint64 begun;    /* of g_get_monotonic_time() */
        uint64_t timeout_usec;
        bool shown;
} Waiting;

/* For `timeout_usec` from now on at most. `output` outlives it. */
void waiting_init(Waiting *waiting, Output *output, uint64_t timeout_usec);
void waiting_done(Waiting *waiting);

/* Shows the holders for the first time, below a line that the caller has printed. */
void waiting_show(Waiting *waiting, JsonArray *holders);

/* Shows what is another now: on a terminal the time, too. */
void waiting_update(Waiting *waiting, JsonArray *holders);

/* Erases what is drawn: something else is printed, and then this again. */
void waiting_pause(Waiting *waiting);

/* Leaves the holders and what became of them. To be called before something else is printed. */
void waiting_end(Waiting *waiting);
