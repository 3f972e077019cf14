#include "policy/look-share.h"

#include <criterion/criterion.h>

static const LookShare share = { .of_user = 1000, .of_users = 4000, .of_process = 10, .usec = 50 };

Test(look_share, each_user_has_their_own) {
        cr_expect_eq(look_share_left(&share, 1000, 0, 0, 5), 1000);
        cr_expect_eq(look_share_left(&share, 1000, 400, 400, 5), 600);
        cr_expect_eq(look_share_left(&share, 1000, 1000, 1000, 5), 0, "hides only itself");
        cr_expect_eq(look_share_left(&share, 1000, 1005, 1005, 5), 0, "a line more was read");
        cr_expect_eq(look_share_left(&share, 1001, 0, 1005, 5), 1000);
        cr_expect_eq(look_share_left(&share, 1001, 0, 3900, 5), 100);
}

Test(look_share, nobody_hides_others) {
        cr_expect_eq(look_share_left(&share, 1001, 0, 3995, 5), 10);
        cr_expect_eq(look_share_left(&share, 1001, 0, 4000, 5), 10);
        cr_expect_eq(look_share_left(&share, 1001, 10, 4700, 5), 10, "of each process");
        cr_expect_eq(look_share_left(&share, 1001, 995, 4700, 5), 5);
        cr_expect_eq(look_share_left(&share, 1001, 1000, 4700, 5), 0);
}

Test(look_share, roots_are_looked_at_wholly) {
        cr_expect_eq(look_share_left(&share, 0, 1 << 20, 1 << 20, 5), UINT64_MAX);
}

/* A question about a function is not left open for that, see HELPER_ANSWER_USEC. */
Test(look_share, a_slow_machine_looks_at_less) {
        cr_expect_eq(look_share_left(&share, 1000, 0, 0, 50), 1000);
        cr_expect_eq(look_share_left(&share, 1000, 0, 0, 51), 10);
        cr_expect_eq(look_share_left(&share, 1000, 995, 995, 51), 5);
        cr_expect_eq(look_share_left(&share, 0, 0, 0, 51), UINT64_MAX);
}
