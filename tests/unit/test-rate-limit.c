#include "daemon/base/rate-limit.h"

#include <criterion/criterion.h>
#include <glib.h>

typedef struct Fixture {
        sd_event *event;
        RateLimit *limit;
        GArray *handed; /* of PciKey, in order */
} Fixture;

static void on_due(void *context, PciKey key) {
        g_array_append_val(((Fixture *) context)->handed, key);
}

static void setup(Fixture *fixture) {
        *fixture = (Fixture){ .handed = g_array_new(FALSE, FALSE, sizeof(PciKey)) };
        cr_assert_eq(sd_event_new(&fixture->event), 0);
        cr_assert_eq(rate_limit_new(fixture->event, on_due, fixture, &fixture->limit), 0);
}

static void teardown(Fixture *fixture) {
        cr_assert_null(rate_limit_free(fixture->limit));
        cr_assert_null(rate_limit_free(NULL));
        g_array_unref(fixture->handed);
        sd_event_unref(fixture->event);
}

/* Runs the loop until nothing is pending in it any more. */
static void run_to_the_end(Fixture *fixture) {
        while (sd_event_run(fixture->event, 10 * RATE_LIMIT_USEC) > 0)
                ;
}

Test(rate_limit, first_at_once_and_the_others_together) {
        Fixture fixture;

        setup(&fixture);
        cr_assert(rate_limit_take(fixture.limit, 7));
        for (unsigned i = 0; i < 3; i++)
                cr_assert_not(rate_limit_take(fixture.limit, 7));
        cr_assert(rate_limit_take(fixture.limit, 8), "each key has its own");
        cr_assert_eq(fixture.handed->len, 0);
        run_to_the_end(&fixture);
        cr_assert_eq(fixture.handed->len, 1);
        cr_assert_eq(g_array_index(fixture.handed, PciKey, 0), 7);
        cr_assert(rate_limit_take(fixture.limit, 7), "the interval is over");
        teardown(&fixture);
}

Test(rate_limit, what_was_handed_over_begins_an_interval) {
        Fixture fixture;

        setup(&fixture);
        cr_assert(rate_limit_take(fixture.limit, 7));
        cr_assert_not(rate_limit_take(fixture.limit, 7));
        while (fixture.handed->len == 0)
                cr_assert_geq(sd_event_run(fixture.event, UINT64_MAX), 0);
        cr_assert_not(rate_limit_take(fixture.limit, 7));
        run_to_the_end(&fixture);
        cr_assert_eq(fixture.handed->len, 2);
        teardown(&fixture);
}
