/* counters.h: how often things happened, for monitoring.
 *
 * Owns the results by which calls are counted. Always holds: a counter only goes up while the
 * daemon runs, and there are as many of them as the tables below have, whatever clients do. They
 * begin at 0 with each start of the daemon. */
#pragma once

#include "policy/operation.h"

typedef enum CallResult {
        CALL_RESULT_DONE,
        CALL_RESULT_REFUSED, /* something stood against it */
        CALL_RESULT_BUSY,    /* something related was in progress, or there was no place */
        CALL_RESULT_TIMED_OUT,
        CALL_RESULT_CANCELLED,
        CALL_RESULT_GONE, /* the function vanished */
        CALL_RESULT_FAILED,
        _CALL_RESULT_MAX,
} CallResult;

/* The words that the contract has for it. */
const char *call_result_to_string(CallResult result);

/* The result of a call that ended with 0 or a negative errno, as a ManagerDone gets it. */
CallResult call_result_from_errno(int r);

/* Calls of one kind that ended with one result. */
typedef struct CallCounter {
        uint64_t calls;
        uint64_t usec; /* from their begin to their end, together */
} CallCounter;

void call_counter_add(CallCounter counters[static _CALL_RESULT_MAX], int r, uint64_t usec);

/* Turns of the event loop. */
typedef struct LoopCounters {
        uint64_t turns;
        uint64_t long_turns; /* that took more of the processor than is meant */
        uint64_t busy_usec;  /* all turns together, by CLOCK_MONOTONIC */
        /* The longest: by CLOCK_MONOTONIC, with what others had of the processor; by the
         * processor's time, of the daemon alone. */
        uint64_t longest_usec, longest_cpu_usec;
} LoopCounters;

/* How many functions there are now of some kinds. */
typedef struct FunctionGauges {
        unsigned in_use, locked, with_session, with_lease;
        unsigned inhibitors; /* one that is about several functions counts for each */
} FunctionGauges;

void function_gauges_add(FunctionGauges *gauges, const Function *function);

typedef struct Counters {
        uint64_t started_usec; /* CLOCK_REALTIME */
        uint64_t violations[_OPERATION_MAX];
        CallCounter operations[_OPERATION_MAX][_CALL_RESULT_MAX];
        CallCounter unplugs[_CALL_RESULT_MAX];
        uint64_t sessions_opened, leases_opened;
        uint64_t lost_events; /* how often all functions had to be read again for them */
        FunctionGauges gauges;
        uint64_t gauges_usec; /* when they were counted, CLOCK_MONOTONIC; 0: never */
} Counters;

/* Counts a violation of what stood against `operation`, a word of the contract; a word that is
 * unknown is not counted. */
void counters_add_violation(Counters *counters, const char *operation);

/* Whether clients can call the operation by itself; only those have rows in `operations`. */
bool counters_has_operation(Operation operation);
