#include "policy/allowance.h"

#include <criterion/criterion.h>

#define START_USEC 1000000

static unsigned take_all(Allowance *allowance, uint32_t uid, uint64_t now_usec) {
        unsigned n = 0;

        while (n <= 2 * ALLOWANCE_MAX && allowance_take(allowance, uid, 1, now_usec))
                n++;
        return n;
}

Test(allowance, each_user_has_their_own) {
        g_autoptr(Allowance) allowance = allowance_new();

        cr_assert_eq(take_all(allowance, 1000, START_USEC), ALLOWANCE_MAX);
        cr_assert_eq(take_all(allowance, 1001, START_USEC), ALLOWANCE_MAX);
        cr_assert_not(allowance_take(allowance, 1000, 1, START_USEC));
        allowance_reset(allowance);
        cr_assert_eq(take_all(allowance, 1000, START_USEC), ALLOWANCE_MAX);
}

Test(allowance, points_are_not_taken_in_part) {
        g_autoptr(Allowance) allowance = allowance_new();

        cr_assert(allowance_take(allowance, 1000, ALLOWANCE_MAX - 1, START_USEC));
        cr_assert_not(allowance_take(allowance, 1000, 2, START_USEC));
        cr_assert(allowance_take(allowance, 1000, 1, START_USEC));
}

Test(allowance, time_gives_points_back) {
        static const struct {
                uint64_t usec;
                unsigned points;
        } rows[] = {
                { 0, 0 },
                { 999, 0 },
                { 1000, ALLOWANCE_PER_MSEC },
                { 1999, ALLOWANCE_PER_MSEC },
                { 10000, 10 * ALLOWANCE_PER_MSEC },
                { 1000 * ALLOWANCE_MAX / ALLOWANCE_PER_MSEC, ALLOWANCE_MAX },
                { UINT64_MAX - START_USEC, ALLOWANCE_MAX },
        };

        for (unsigned i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
                g_autoptr(Allowance) allowance = allowance_new();

                take_all(allowance, 1000, START_USEC);
                cr_assert_eq(take_all(allowance, 1000, START_USEC + rows[i].usec), rows[i].points,
                             "row %u", i);
        }
}

/* Fractions of a millisecond are not lost, and time that goes back gives nothing. */
Test(allowance, small_steps_sum_up) {
        g_autoptr(Allowance) allowance = allowance_new();
        unsigned points = 0;

        take_all(allowance, 1000, START_USEC);
        for (unsigned i = 1; i <= 100; i++)
                points += take_all(allowance, 1000, START_USEC + i * 100);
        cr_assert_eq(points, 10 * ALLOWANCE_PER_MSEC);
        cr_assert_eq(take_all(allowance, 1000, 0), 0);
        cr_assert_null(allowance_free(NULL));
}
