#include "policy/room.h"

#include <criterion/criterion.h>

Test(room, is_kept_for_root) {
        cr_assert(room_left(0, 1024, 1000));
        cr_assert(room_left(1024 - ROOM_FOR_ROOT - 1, 1024, 1000));
        cr_assert_not(room_left(1024 - ROOM_FOR_ROOT, 1024, 1000));
        cr_assert(room_left(1024 - ROOM_FOR_ROOT, 1024, 0));
        cr_assert(room_left(1023, 1024, 0));
        cr_assert_not(room_left(1024, 1024, 0));
        cr_assert_not(room_left(1024, 1024, 1000));
}
