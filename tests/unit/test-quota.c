#include "dbus/quota.h"

#include <criterion/criterion.h>
#include <errno.h>

Test(quota, each_user_has_their_own) {
        static const struct {
                uint32_t uid;
                unsigned max;
        } rows[] = { { 0, 1024 }, { 1, 32 }, { 65534, 32 }, { UINT32_MAX, 32 } };
        Quota *quota = quota_new();

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
        Quota *quota = quota_new(), *kept = quota_ref(quota);

        cr_assert_eq(quota_take(quota, 7), 0);
        quota_unref(quota);
        quota_give(kept, 7);
        for (unsigned n = 0; n < QUOTA_PER_UID_MAX; n++)
                cr_assert_eq(quota_take(kept, 7), 0);
        cr_assert_eq(quota_take(kept, 7), -EDQUOT);
        cr_assert_null(quota_unref(kept));
        cr_assert_null(quota_unref(NULL));
}
