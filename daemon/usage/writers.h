/* writers.h: a search for the processes that are in the middle of a write to sysfs that takes a
 * function away.
 *
 * Owns the search, and the scanner that does it (scan-writers.h), which lives as long. */
#pragma once

#include "policy/external-removal.h"

#include <systemd/sd-event.h>

typedef struct Writers Writers;

/* Of RemovalWriter* by pid, borrowed. Called once; the callee may free the search. After
 * WRITERS_USEC these are those that were found until then. `result` is 0, or a negative errno when
 * something could not be looked at: there may be another. */
typedef void WritersFound(void *context, const GPtrArray *writers, int result);

#define WRITERS_USEC (3 * 1000 * 1000ULL)

/* Returns 0, or a negative errno. */
int writers_find(sd_event *event, WritersFound *done, void *context, Writers **ret);
Writers *writers_free(Writers *writers);
