#include "policy/number.h"

#include <criterion/criterion.h>
#include <errno.h>

Test(number, table) {
        static const struct {
                const char *text;
                unsigned base;
                uint64_t max;
                int result;
                uint64_t value;
        } cases[] = {
                { "0", 10, 10, 0, 0 },
                { "10", 10, 10, 0, 10 },
                { "11", 10, 10, -ERANGE, 0 },
                { "007", 10, 10, 0, 7 },
                { "", 10, 10, -EINVAL, 0 },
                { "-1", 10, 10, -EINVAL, 0 },
                { "+1", 10, 10, -EINVAL, 0 },
                { " 1", 10, 10, -EINVAL, 0 },
                { "1 ", 10, 10, -EINVAL, 0 },
                { "1\n", 10, 10, -EINVAL, 0 },
                { "0x1", 10, 10, -EINVAL, 0 },
                { "a", 10, 10, -EINVAL, 0 },
                { "0x8086", 16, 0xffff, 0, 0x8086 },
                { "8086", 16, 0xffff, 0, 0x8086 },
                { "FfFf", 16, 0xffff, 0, 0xffff },
                { "0x10000", 16, 0xffff, -ERANGE, 0 },
                { "0x", 16, 0xffff, -EINVAL, 0 },
                { "0xg", 16, 0xffff, -EINVAL, 0 },
                { "x1", 16, 0xffff, -EINVAL, 0 },
                { "18446744073709551614", 10, UINT64_MAX - 1, 0, UINT64_MAX - 1 },
                { "18446744073709551616", 10, UINT64_MAX - 1, -ERANGE, 0 },
                { "99999999999999999999999999", 10, UINT64_MAX - 1, -ERANGE, 0 },
                { "0x10000000000000000", 16, UINT64_MAX - 1, -ERANGE, 0 },
        };

        for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                uint64_t value = 0;

                cr_assert_eq(number_parse(cases[i].text, cases[i].base, cases[i].max, &value),
                             cases[i].result, "'%s'", cases[i].text);
                cr_assert_eq(value, cases[i].value, "'%s'", cases[i].text);
        }
}

Test(number, with_a_sign) {
        static const struct {
                const char *text;
                int32_t min;
                int result;
                int32_t value;
        } cases[] = {
                { "-1", -1, 0, -1 },
                { "0", -1, 0, 0 },
                { "2147483647", -1, 0, INT32_MAX },
                { "2147483648", -1, -ERANGE, 99 },
                { "-2", -1, -ERANGE, 99 },
                { "-1", 0, -ERANGE, 99 },
                { "-", -1, -EINVAL, 99 },
                { "--1", -9, -EINVAL, 99 },
                { "", -1, -EINVAL, 99 },
                { "1x", -1, -EINVAL, 99 },
        };

        for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                int32_t value = 99;

                cr_assert_eq(number_parse_int(cases[i].text, cases[i].min, &value), cases[i].result,
                             "'%s'", cases[i].text);
                cr_assert_eq(value, cases[i].value, "'%s'", cases[i].text);
        }
}

Test(number, of_a_device) {
        static const struct {
                const char *text;
                unsigned base;
                int result;
                uint32_t major, minor;
        } cases[] = {
                { "259:0", 10, 0, 259, 0 },
                { "00:17", 16, 0, 0, 0x17 },
                { "fd:1f", 16, 0, 0xfd, 0x1f },
                { "fd:1f", 10, -EINVAL, 99, 99 },
                { "259", 10, -EINVAL, 99, 99 },
                { "259:", 10, -EINVAL, 99, 99 },
                { ":0", 10, -EINVAL, 99, 99 },
                { "259:0:1", 10, -EINVAL, 99, 99 },
                { "259:4294967296", 10, -ERANGE, 99, 99 },
        };

        for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                uint32_t major = 99, minor = 99;

                cr_assert_eq(number_parse_device(cases[i].text, cases[i].base, &major, &minor),
                             cases[i].result, "'%s'", cases[i].text);
                cr_assert_eq(major, cases[i].major, "'%s'", cases[i].text);
                cr_assert_eq(minor, cases[i].minor, "'%s'", cases[i].text);
        }
}
