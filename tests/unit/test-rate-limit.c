#include "daemon/base/rate-limit.h"

#include "tests/unit/due-keys.h"

typedef struct Fixture {
        DueKeys due;
        RateLimit *limit;
} Fixture;

static void setup(Fixture *fixture) {
        due_keys_init(&fixture->due);
        cr_assert_eq(
                rate_limit_new(fixture->due.event, due_keys_on_due, &fixture->due, &fixture->limit),
                0);
}

static void teardown(Fixture *fixture) {
        cr_assert_null(rate_limit_free(fixture->limit));
        cr_assert_null(rate_limit_free(NULL));
        due_keys_clear(&fixture->due);
}

/* Runs the loop until nothing is pending in it any more. */
static void run_to_the_end(Fixture *fixture) {
        while (sd_event_run(fixture->due.event, 10 * RATE_LIMIT_USEC) > 0)
                ;
}

Test(rate_limit, first_at_once_and_the_others_together) {
        Fixture fixture;

        setup(&fixture);
        cr_assert(rate_limit_take(fixture.limit, 7));
        for (unsigned i = 0; i < 3; i++)
                cr_assert_not(rate_limit_take(fixture.limit, 7));
        cr_assert(rate_limit_take(fixture.limit, 8), "each key has its own");
        cr_assert_eq(fixture.due.handed->len, 0);
        run_to_the_end(&fixture);
        cr_assert_eq(fixture.due.handed->len, 1);
        cr_assert_eq(g_array_index(fixture.due.handed, PciKey, 0), 7);
        cr_assert(rate_limit_take(fixture.limit, 7), "the interval is over");
        teardown(&fixture);
}

Test(rate_limit, what_was_handed_over_begins_an_interval) {
        Fixture fixture;

        setup(&fixture);
        cr_assert(rate_limit_take(fixture.limit, 7));
        cr_assert_not(rate_limit_take(fixture.limit, 7));
        due_keys_wait(&fixture.due);
        cr_assert_not(rate_limit_take(fixture.limit, 7));
        run_to_the_end(&fixture);
        cr_assert_eq(fixture.due.handed->len, 2);
        teardown(&fixture);
}
