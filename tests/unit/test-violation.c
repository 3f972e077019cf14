#include "policy/violation.h"

#include <criterion/criterion.h>

#define START 1000000ULL

Test(violation_tally, the_first_are_reported_and_the_others_counted) {
        ViolationTally tally = { 0 };

        for (unsigned i = 0; i < VIOLATION_TALLY_MAX; i++)
                cr_assert(violation_tally_take(&tally, START + i), "%u", i);
        for (unsigned i = 0; i < 5; i++)
                cr_assert_not(violation_tally_take(&tally, START + 100 + i));
        cr_assert_eq(violation_tally_end_usec(&tally), START + VIOLATION_TALLY_USEC);
        cr_assert_eq(violation_tally_end(&tally, START + VIOLATION_TALLY_USEC), 5);
}

/* Who goes on is reported once in each time; who pauses for as long begins anew. */
Test(violation_tally, the_next_time) {
        ViolationTally tally = { 0 };
        uint64_t now = START;

        for (unsigned i = 0; i <= VIOLATION_TALLY_MAX; i++)
                (void) violation_tally_take(&tally, now);
        for (unsigned i = 0; i < 3; i++) {
                now = violation_tally_end_usec(&tally);
                cr_assert_eq(violation_tally_end(&tally, now), 1);
                cr_assert_not(violation_tally_take(&tally, now + 1), "counted from the first");
        }
        now = violation_tally_end_usec(&tally);
        cr_assert_eq(violation_tally_end(&tally, now), 1);
        now = violation_tally_end_usec(&tally);
        cr_assert_eq(violation_tally_end(&tally, now), 0, "nothing more");
        cr_assert(violation_tally_take(&tally, now + 1));
        cr_assert_eq(violation_tally_end_usec(&tally), now + 1 + VIOLATION_TALLY_USEC);
}
