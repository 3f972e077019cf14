#include "policy/counters.h"

#include <errno.h>

static const char *const result_words[_CALL_RESULT_MAX] = {
        [CALL_RESULT_DONE] = "done",           [CALL_RESULT_REFUSED] = "refused",
        [CALL_RESULT_BUSY] = "busy",           [CALL_RESULT_TIMED_OUT] = "timed-out",
        [CALL_RESULT_CANCELLED] = "cancelled", [CALL_RESULT_GONE] = "gone",
        [CALL_RESULT_FAILED] = "failed",
};

const char *call_result_to_string(CallResult result) {
        return result_words[result];
}

CallResult call_result_from_errno(int r) {
        switch (r) {
        case 0:
                return CALL_RESULT_DONE;
        case -ECONNREFUSED:
                return CALL_RESULT_REFUSED;
        case -EBUSY:
        case -EDQUOT:
                return CALL_RESULT_BUSY;
        case -ETIMEDOUT:
                return CALL_RESULT_TIMED_OUT;
        case -ECANCELED:
                return CALL_RESULT_CANCELLED;
        case -ENODEV:
        case -EALREADY: /* somebody else took the function away */
                return CALL_RESULT_GONE;
        default:
                return r > 0 ? CALL_RESULT_DONE : CALL_RESULT_FAILED;
        }
}

void call_counter_add(CallCounter counters[static _CALL_RESULT_MAX], int r, uint64_t usec) {
        CallCounter *counter = &counters[call_result_from_errno(r)];

        counter->calls++;
        counter->usec += usec;
}

void function_gauges_add(FunctionGauges *gauges, const Function *function) {
        gauges->in_use += function_in_use(function) ? 1 : 0;
        gauges->locked += function->lock_reasons != 0 ? 1 : 0;
        gauges->with_session += function->session ? 1 : 0;
        gauges->with_lease += function->lease ? 1 : 0;
        gauges->inhibitors += function->inhibitors ? function->inhibitors->len : 0;
}

void counters_add_violation(Counters *counters, const char *word) {
        Operation operation = operation_from_string(word);

        if (operation >= 0)
                counters->violations[operation]++;
}

bool counters_has_operation(Operation operation) {
        return operation <= OPERATION_RESET;
}
