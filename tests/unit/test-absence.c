#include "policy/absence.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

Test(absence, of_each_errno) {
        static const int absent[] = { ENOENT, ENODEV, ENXIO };
        static const int malformed[] = { EFBIG, EISDIR, ENOTDIR, ELOOP, EINVAL };

        for (int number = 1; number < 200; number++) {
                bool is_absent = false, is_malformed = false;

                for (unsigned i = 0; i < sizeof(absent) / sizeof(*absent); i++)
                        is_absent = is_absent || absent[i] == number;
                for (unsigned i = 0; i < sizeof(malformed) / sizeof(*malformed); i++)
                        is_malformed = is_malformed || malformed[i] == number;
                cr_assert_eq(errno_means_absent(-number), is_absent, "%s", strerror(number));
                cr_assert_eq(errno_means_malformed(-number), is_malformed, "%s", strerror(number));
        }
}

Test(absence, success_is_neither) {
        cr_assert_not(errno_means_absent(0));
        cr_assert_not(errno_means_malformed(0));
        cr_assert_not(errno_means_absent(ENOENT), "a positive value is no error");
}

Test(absence, lack_is_the_readers_own) {
        for (int number = 1; number < 256; number++)
                cr_assert_eq(errno_means_lack(-number),
                             number == EMFILE || number == ENFILE || number == ENOMEM, "%s",
                             strerror(number));
        cr_assert_not(errno_means_lack(0));
}
