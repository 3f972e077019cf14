#include "dbus/quota.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <limits.h>

Test(quota, each_user_has_their_own) {
        static const struct {
                uint32_t uid;
                unsigned max;
        } rows[] = { { 0, 1024 }, { 1, 32 }, { 65534, 32 }, { UINT32_MAX, 32 } };
        Quota *quota = quota_new(QUOTA_PER_UID_MAX, UINT_MAX);

        for (unsigned round = 0; round < 2; round++) {
                for (unsigned i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
                        for (unsigned n = 0; n < rows[i].max; n++)
                                cr_assert_eq(quota_take(quota, rows[i].uid), 0, "%u of %u", n,
                                             rows[i].uid);
                        cr_assert_eq(quota_take(quota, rows[i].uid), -EDQUOT, "%u", rows[i].uid);
                        cr_assert_eq(quota_take(quota, rows[i].uid), -EDQUOT, "%u", rows[i].uid);
                        quota_give(quota, rows[i].uid);
                        cr_assert_eq(quota_take(quota, rows[i].uid), 0, "%u", rows[i].uid);
                        cr_assert_eq(quota_take(quota, rows[i].uid), -EDQUOT, "%u", rows[i].uid);
                }
                for (unsigned i = 0; i < sizeof(rows) / sizeof(*rows); i++)
                        for (unsigned n = 0; n < rows[i].max; n++)
                                quota_give(quota, rows[i].uid);
        }
        quota_unref(quota);
}

/* Who has taken something may outlive who made it. */
Test(quota, a_reference_keeps_it) {
        Quota *quota = quota_new(QUOTA_PER_UID_MAX, UINT_MAX), *kept = quota_ref(quota);

        cr_assert_eq(quota_take(quota, 7), 0);
        quota_unref(quota);
        quota_give(kept, 7);
        for (unsigned n = 0; n < QUOTA_PER_UID_MAX; n++)
                cr_assert_eq(quota_take(kept, 7), 0);
        cr_assert_eq(quota_take(kept, 7), -EDQUOT);
        cr_assert_null(quota_unref(kept));
        cr_assert_null(quota_unref(NULL));
}

/* How many the user gets, one after the other. */
static unsigned take_all(Quota *quota, uint32_t uid, int refusal) {
        unsigned n = 0;
        int r;

        while ((r = quota_take(quota, uid)) == 0)
                n++;
        cr_assert_eq(r, refusal, "%u: %d", uid, r);
        cr_assert_eq(quota_count(quota, uid), n);
        return n;
}

/* A user has at most as many as are left. Root has a bound of its own, and does not count. */
Test(quota, all_users_have_a_total) {
        Quota *quota = quota_new(32, 64);

        for (unsigned n = 0; n < 100; n++)
                cr_assert_eq(quota_take(quota, 0), 0);
        cr_assert_eq(take_all(quota, 1, -EDQUOT), 32);
        cr_assert_eq(take_all(quota, 2, -ENOSPC), 16);
        cr_assert_eq(take_all(quota, 3, -ENOSPC), 8);
        cr_assert_eq(take_all(quota, 4, -ENOSPC), 4);
        cr_assert_eq(take_all(quota, 5, -ENOSPC), 2);
        cr_assert_eq(take_all(quota, 6, -ENOSPC), 1);
        cr_assert_eq(take_all(quota, 7, -ENOSPC), 1);
        cr_assert_eq(take_all(quota, 8, -ENOSPC), 0);
        cr_assert_eq(quota_take(quota, 0), 0);
        quota_give(quota, 0);
        cr_assert_eq(take_all(quota, 8, -ENOSPC), 0);
        quota_give(quota, 1);
        cr_assert_eq(take_all(quota, 8, -ENOSPC), 1);
        quota_unref(quota);
}

/* Taking one of the greedy for the other must leave the greedy with no fewer than the other then
 * has. */
Test(quota, the_greedy_has_the_most) {
        Quota *quota = quota_new(QUOTA_PER_UID_MAX, UINT_MAX);
        uint32_t greedy = 1234;

        cr_assert(!quota_find_greedy(quota, 7, &greedy));
        for (unsigned n = 0; n < 5; n++)
                quota_take(quota, 0);
        quota_take(quota, 7);
        cr_assert(!quota_find_greedy(quota, 9, &greedy), "one each is fair");
        quota_take(quota, 7);
        quota_take(quota, 8);
        cr_assert(quota_find_greedy(quota, 9, &greedy));
        cr_assert_eq(greedy, 7);
        cr_assert(!quota_find_greedy(quota, 8, &greedy));
        cr_assert(!quota_find_greedy(quota, 7, &greedy));
        for (unsigned n = 0; n < 3; n++)
                quota_take(quota, 8);
        cr_assert(quota_find_greedy(quota, 9, &greedy));
        cr_assert_eq(greedy, 8);
        cr_assert(quota_find_greedy(quota, 7, &greedy));
        cr_assert_eq(greedy, 8);
        quota_unref(quota);
}
