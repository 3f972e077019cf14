/* statistics.h: counts what the daemon does, where it happens in the manager.
 *
 * Owns the time that a counted call began. The counters are the PartContext's. */
#pragma once

#include "daemon/base/part.h"
#include "daemon/manager/manager-types.h"
#include "policy/counters.h"
#include "policy/violation.h"

Counters *statistics_new_counters(void);

/* Counts a violation, for all and for its function. */
void statistics_add_violation(const PartContext *context, const Violation *violation);

/* See manager_ask_counts(). */
void statistics_ask_counts(const PartContext *context, PciKey key);

/* The counters, with the functions counted a second ago at most: there can be many functions, and
 * everybody may ask. */
const Counters *statistics_read(const PartContext *context);

/* A call whose end is counted: `done` and `context` are replaced by statistics_call_done() and what
 * this returns. `counters` has a counter for each result. */
void *statistics_call_new(CallCounter counters[static _CALL_RESULT_MAX], ManagerDone *done,
                          void *context);
void statistics_call_done(void *call, int result, const char *message);

/* Logs `message` and counts it: events were lost. */
void statistics_events_lost(const PartContext *context, const char *message);
