#include "policy/root-share.h"

#include <criterion/criterion.h>

Test(root_share, is_kept_for_root) {
        cr_assert(root_share_left(0, 1024, 1000));
        cr_assert(root_share_left(1024 - ROOT_SHARE - 1, 1024, 1000));
        cr_assert_not(root_share_left(1024 - ROOT_SHARE, 1024, 1000));
        cr_assert(root_share_left(1024 - ROOT_SHARE, 1024, 0));
        cr_assert(root_share_left(1023, 1024, 0));
        cr_assert_not(root_share_left(1024, 1024, 0));
        cr_assert_not(root_share_left(1024, 1024, 1000));
}
