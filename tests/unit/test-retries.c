#include "daemon/base/retries.h"

#include "tests/unit/due-keys.h"

typedef struct Fixture {
        DueKeys due;
        Retries *retries;
} Fixture;

static void setup(Fixture *fixture) {
        due_keys_init(&fixture->due);
        cr_assert_eq(
                retries_new(fixture->due.event, due_keys_on_due, &fixture->due, &fixture->retries),
                0);
}

static void teardown(Fixture *fixture) {
        cr_assert_null(retries_free(fixture->retries));
        cr_assert_null(retries_free(NULL));
        due_keys_clear(&fixture->due);
}

/* How long it takes until the next is handed over, in microseconds. */
static uint64_t wait_for_next(Fixture *fixture) {
        uint64_t begin = (uint64_t) g_get_monotonic_time();

        due_keys_wait(&fixture->due);
        return (uint64_t) g_get_monotonic_time() - begin;
}

Test(retries, each_time_later) {
        Fixture fixture;

        setup(&fixture);
        for (uint64_t delay = RETRIES_FIRST_USEC; delay <= 4 * RETRIES_FIRST_USEC; delay *= 2) {
                retries_add(fixture.retries, 7);
                retries_add(fixture.retries, 7); /* waits already */
                cr_assert(retries_has(fixture.retries, 7));
                cr_assert_geq(wait_for_next(&fixture), delay - 1000);
                cr_assert(retries_has(fixture.retries, 7), "until its result is known");
        }
        cr_assert_eq(fixture.due.handed->len, 3);

        retries_drop(fixture.retries, 7);
        cr_assert_not(retries_any(fixture.retries));
        retries_add(fixture.retries, 7);
        cr_assert_lt(wait_for_next(&fixture), 4 * RETRIES_FIRST_USEC, "it begins anew");
        teardown(&fixture);
}

Test(retries, each_by_itself) {
        Fixture fixture;

        setup(&fixture);
        retries_add(fixture.retries, 1);
        (void) wait_for_next(&fixture);
        retries_add(fixture.retries, 1); /* after twice the time */
        retries_add(fixture.retries, 2);
        retries_add(fixture.retries, 3);
        retries_drop(fixture.retries, 3);
        (void) wait_for_next(&fixture);
        (void) wait_for_next(&fixture);
        cr_assert_eq(fixture.due.handed->len, 3);
        cr_assert_eq(g_array_index(fixture.due.handed, PciKey, 1), 2);
        cr_assert_eq(g_array_index(fixture.due.handed, PciKey, 2), 1);
        cr_assert_not(retries_has(fixture.retries, 3));
        teardown(&fixture);
}
