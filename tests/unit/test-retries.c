#include "daemon/base/retries.h"

#include <criterion/criterion.h>
#include <glib.h>

typedef struct Fixture {
        sd_event *event;
        Retries *retries;
        GArray *handed; /* of PciKey, in order */
} Fixture;

static void on_due(void *context, PciKey key) {
        g_array_append_val(((Fixture *) context)->handed, key);
}

static void setup(Fixture *fixture) {
        *fixture = (Fixture){ .handed = g_array_new(FALSE, FALSE, sizeof(PciKey)) };
        cr_assert_eq(sd_event_new(&fixture->event), 0);
        cr_assert_eq(retries_new(fixture->event, on_due, fixture, &fixture->retries), 0);
}

static void teardown(Fixture *fixture) {
        cr_assert_null(retries_free(fixture->retries));
        cr_assert_null(retries_free(NULL));
        g_array_unref(fixture->handed);
        sd_event_unref(fixture->event);
}

/* How long it takes until the next is handed over, in microseconds. */
static uint64_t wait_for_next(Fixture *fixture) {
        uint64_t begin = (uint64_t) g_get_monotonic_time();
        guint before = fixture->handed->len;

        while (fixture->handed->len == before)
                cr_assert_geq(sd_event_run(fixture->event, UINT64_MAX), 0);
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
        cr_assert_eq(fixture.handed->len, 3);

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
        cr_assert_eq(fixture.handed->len, 3);
        cr_assert_eq(g_array_index(fixture.handed, PciKey, 1), 2);
        cr_assert_eq(g_array_index(fixture.handed, PciKey, 2), 1);
        cr_assert_not(retries_has(fixture.retries, 3));
        teardown(&fixture);
}
