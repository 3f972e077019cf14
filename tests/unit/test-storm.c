#include "daemon/manager/inventory/storm.h"

#include <criterion/criterion.h>

typedef struct Fixture {
        sd_event *event;
        Storm *storm;
        unsigned n_handled;
} Fixture;

static void on_held(void *context) {
        Fixture *fixture = context;

        fixture->n_handled++;
        storm_release(fixture->storm);
}

static void setup(Fixture *fixture) {
        *fixture = (Fixture){ 0 };
        cr_assert_geq(sd_event_new(&fixture->event), 0);
        cr_assert_eq(storm_new(fixture->event, on_held, fixture, &fixture->storm), 0);
}

static void teardown(Fixture *fixture) {
        cr_assert_null(storm_free(fixture->storm));
        cr_assert_null(storm_free(NULL));
        sd_event_unref(fixture->event);
}

/* Runs the loop until nothing is pending in it any more. */
static void run_to_the_end(Fixture *fixture) {
        while (sd_event_run(fixture->event, 10 * STORM_USEC) > 0)
                ;
}

Test(storm, events_of_one_function_wait_for_nothing) {
        Fixture fixture;

        setup(&fixture);
        for (unsigned i = 0; i < 3; i++)
                cr_assert(storm_take(fixture.storm, 7));
        cr_assert_not(storm_holds(fixture.storm));
        run_to_the_end(&fixture);
        cr_assert_eq(fixture.n_handled, 0);
        teardown(&fixture);
}

Test(storm, those_of_many_are_handled_together) {
        Fixture fixture;

        setup(&fixture);
        (void) storm_take(fixture.storm, 1);
        /* The machine may be slow: those of the first two may be more than an interval apart. */
        for (PciKey key = 2; !storm_holds(fixture.storm); key++)
                (void) storm_take(fixture.storm, key);
        for (PciKey key = 100; key < 200; key++)
                cr_assert_not(storm_take(fixture.storm, key));
        cr_assert_eq(fixture.n_handled, 0);
        run_to_the_end(&fixture);
        cr_assert_eq(fixture.n_handled, 1);
        cr_assert_not(storm_holds(fixture.storm));
        teardown(&fixture);
}

Test(storm, what_was_handled_meanwhile_is_not_handled_again) {
        Fixture fixture;

        setup(&fixture);
        for (PciKey key = 1; !storm_holds(fixture.storm); key++)
                (void) storm_take(fixture.storm, key);
        storm_release(fixture.storm);
        cr_assert_not(storm_holds(fixture.storm));
        run_to_the_end(&fixture);
        cr_assert_eq(fixture.n_handled, 0);
        teardown(&fixture);
}

Test(storm, it_ends_when_no_events_come) {
        Fixture fixture;

        setup(&fixture);
        for (PciKey key = 1; !storm_holds(fixture.storm); key++)
                (void) storm_take(fixture.storm, key);
        run_to_the_end(&fixture); /* waits for longer than an interval */
        cr_assert(storm_take(fixture.storm, 1000));
        teardown(&fixture);
}
