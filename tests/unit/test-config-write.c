#include "policy/config-write.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

Test(config_write, inside) {
        static const struct {
                uint32_t size;
                uint64_t offset, length;
                int expected;
        } cases[] = {
                { 256, 0, 1, 0 },
                { 256, 0, 256, 0 },
                { 256, 255, 1, 0 },
                { 4096, 4092, 4, 0 },
                { 256, 0, 0, -EINVAL },
                { 256, 256, 0, -EINVAL },
                { 256, 0, 257, -EINVAL },
                { 256, 255, 2, -EINVAL },
                { 256, 256, 1, -EINVAL },
                { 256, UINT64_MAX, 1, -EINVAL },
                { 256, UINT64_MAX, 2, -EINVAL },
                { 256, 4, UINT64_MAX, -EINVAL },
                { 0, 0, 1, -EINVAL },
        };

        for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
                cr_assert_eq(config_write_check(cases[i].size, cases[i].offset, cases[i].length),
                             cases[i].expected, "%zu", i);
}

/* Each write of 1 to 8 bytes near the register: of all ones, one bit is missing, or none. */
Test(config_write, bus_master) {
        for (uint64_t offset = 0; offset < 12; offset++)
                for (size_t length = 1; length <= 8; length++)
                        for (int dma = 0; dma < 2; dma++) {
                                uint8_t data[8];

                                memset(data, 0xff, sizeof(data));
                                config_write_mask(offset, data, length, dma);
                                for (size_t i = 0; i < sizeof(data); i++)
                                        cr_assert_eq(data[i],
                                                     !dma && i < length && offset + i == 4 ? 0xfb
                                                                                           : 0xff,
                                                     "byte %zu of %zu at %zu", i, length,
                                                     (size_t) offset);
                        }
}
