#include "daemon/manager/statistics.h"

#include "daemon/base/log.h"
#include "daemon/broker/sessions.h"
#include "daemon/manager/parts/parts.h"

/* For so long a count of functions holds. */
#define GAUGES_USEC (1000 * 1000ULL)

typedef struct CountedCall {
        CallCounter *counters;
        ManagerDone *done;
        void *context;
        gint64 begun;
} CountedCall;

Counters *statistics_new_counters(void) {
        Counters *counters = g_new0(Counters, 1);

        counters->started_usec = (uint64_t) g_get_real_time();
        return counters;
}

void statistics_add_violation(const PartContext *context, const Violation *violation) {
        Function *function = inventory_get(context->inventory, violation->key);

        counters_add_violation(context->counters, violation->operation);
        if (function)
                function->violations++;
}

void statistics_ask_counts(const PartContext *context, PciKey key) {
        sessions_ask_counts(part_find(context, sessions_part), key);
}

const Counters *statistics_read(const PartContext *context) {
        Counters *counters = context->counters;
        uint64_t now = (uint64_t) g_get_monotonic_time();
        Function *function;

        if (counters->gauges_usec != 0 && now < counters->gauges_usec + GAUGES_USEC)
                return counters;
        counters->gauges = (FunctionGauges){ 0 };
        counters->gauges_usec = now;
        inventory_foreach (context->inventory, function)
                function_gauges_add(&counters->gauges, function);
        return counters;
}

void *statistics_call_new(CallCounter counters[static _CALL_RESULT_MAX], ManagerDone *done,
                          void *context) {
        CountedCall *call = g_new(CountedCall, 1);

        *call = (CountedCall){ counters, done, context, g_get_monotonic_time() };
        return call;
}

void statistics_call_done(void *context, int result, const char *message) {
        g_autofree CountedCall *call = context;

        call_counter_add(call->counters, result, (uint64_t) (g_get_monotonic_time() - call->begun));
        call->done(call->context, result, message);
}

void statistics_events_lost(const PartContext *context, const char *message) {
        log_full(LOG_WARNING, NULL, LOG_ID_OVERRUN, "%s", message);
        context->counters->lost_events++;
}
