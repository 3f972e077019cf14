#include "policy/io-ring.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#define ELEMENTS(array) (sizeof(array) / sizeof(*(array)))

Test(io_ring, asked) {
        static const struct {
                const char *text;
                bool expected;
        } cases[] = {
                { "", false },
                { "{}", false },
                { "{\"capabilities\":{\"vfwarden_ring\":{}}}", true },
                { "\"vfwarden_ring\"", true },
                { "\"vfwarden_ring", false },
                { "vfwarden_ring\"", false },
                { "{\"capabilities\":{\"vfwarden_rings\":{}}}", false },
                { "\"vfwarden\"vfwarden_ring\"", true },
        };

        for (size_t i = 0; i < ELEMENTS(cases); i++)
                cr_assert_eq(io_ring_is_asked((const uint8_t *) cases[i].text,
                                              strlen(cases[i].text) + 1),
                             cases[i].expected, "%s", cases[i].text);
        cr_assert_not(io_ring_is_asked(NULL, 0));
}

Test(io_ring, setup) {
        static const struct {
                VfioUserRing asked;
                bool may_spin;
                int expected;
                uint32_t spin;
        } cases[] = {
                { { 16, 0, 2, 50 }, true, 0, 50 },
                { { 16, 0, 64, 7 }, true, 0, 7 },
                { { 16, 0, 16, 0 }, true, 0, 0 },
                { { 16, 0, 16, 51 }, true, 0, 50 },
                { { 16, 0, 16, UINT32_MAX }, true, 0, 50 },
                { { 16, 0, 16, 50 }, false, 0, 0 },
                { { 16, 0, 0, 50 }, true, -EINVAL, 0 },
                { { 16, 0, 1, 50 }, true, -EINVAL, 0 },
                { { 16, 0, 3, 50 }, true, -EINVAL, 0 },
                { { 16, 0, 63, 50 }, true, -EINVAL, 0 },
                { { 16, 0, 65, 50 }, true, -EINVAL, 0 },
                { { 16, 0, 128, 50 }, true, -EINVAL, 0 },
                { { 16, 0, 65536, 50 }, true, -EINVAL, 0 },
                { { 16, 0, 0x80000000, 50 }, true, -EINVAL, 0 },
                { { 16, 0, UINT32_MAX, 50 }, true, -EINVAL, 0 },
                { { 16, 1, 16, 50 }, true, -EINVAL, 0 },
                { { 16, 0x80000000, 16, 50 }, true, -EINVAL, 0 },
        };

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                VfioUserRing granted = { .entries = 77 };
                int r = io_ring_check_setup(&cases[i].asked, cases[i].may_spin, &granted);

                cr_assert_eq(r, cases[i].expected, "%zu", i);
                cr_assert_eq(granted.entries, r < 0 ? 77 : cases[i].asked.entries, "%zu", i);
                cr_assert_eq(granted.max_spin_usec, cases[i].spin, "%zu", i);
        }
}

Test(io_ring, pending) {
        static const struct {
                uint32_t head, tail, entries;
                int expected;
        } cases[] = {
                { 0, 0, 2, 0 },
                { 0, 2, 2, 2 },
                { 0, 3, 2, -EBADMSG },
                { 0, 64, 64, 64 },
                { 0, 65, 64, -EBADMSG },
                { 1, 0, 64, -EBADMSG }, /* backwards */
                { UINT32_MAX, 0, 2, 1 },
                { UINT32_MAX, UINT32_MAX, 2, 0 },
                { UINT32_MAX - 1, 62, 64, 64 },
                { UINT32_MAX - 1, 63, 64, -EBADMSG },
                { 0, UINT32_MAX, 64, -EBADMSG },
                { 0, 0x80000000, 64, -EBADMSG },
        };

        for (size_t i = 0; i < ELEMENTS(cases); i++)
                cr_assert_eq(io_ring_pending(cases[i].head, cases[i].tail, cases[i].entries),
                             cases[i].expected, "%zu", i);
}

Test(io_ring, entries) {
        static const ZpciTarget target = {
                .bar_size = { 4096, 0, 20 },
                .config_size = 4096,
                .max_store_block = 128,
                .msix_bar = 0,
                .msix_offset = 0x800,
                .msix_size = 0x40,
                .natural_stores = true,
        };
        static const struct {
                uint32_t kind, region;
                uint64_t offset;
                uint32_t count;
                int expected;
        } cases[] = {
                { IO_RING_LOAD, 0, 0, 8, 0 },
                { IO_RING_STORE, 0, 0, 8, 0 },
                { IO_RING_LOAD, 0, 4095, 1, 0 },
                { IO_RING_LOAD, 2, 16, 4, 0 },
                { IO_RING_LOAD, 0, 1, 3, 0 },
                { IO_RING_STORE, 0, 1, 3, -EINVAL }, /* would be split */
                { 0, 0, 0, 8, -EINVAL },
                { 3, 0, 0, 8, -EINVAL },
                { UINT32_MAX, 0, 0, 8, -EINVAL },
                { IO_RING_LOAD, 0, 0, 0, -EINVAL },
                { IO_RING_LOAD, 0, 0, 9, -EINVAL },
                { IO_RING_STORE, 0, 0, 16, -EINVAL }, /* blocks stay on the socket */
                { IO_RING_STORE, 0, 0, UINT32_MAX, -EINVAL },
                { IO_RING_LOAD, 0, 4, 8, -EINVAL }, /* crosses a doubleword */
                { IO_RING_LOAD, 0, 4096, 1, -EINVAL },
                { IO_RING_LOAD, 0, UINT64_MAX, 8, -EINVAL },
                { IO_RING_LOAD, 2, 16, 8, -EINVAL },
                { IO_RING_LOAD, 1, 0, 1, -EINVAL },
                { IO_RING_STORE, 0, 0x808, 8, -EINVAL }, /* the MSI-X table */
                { IO_RING_LOAD, 6, 0, 4, -EINVAL },
                { IO_RING_LOAD, VFIO_USER_REGION_CONFIG, 0, 4, -EINVAL },
                { IO_RING_LOAD, VFIO_USER_REGION_ZPCI, 0, 4, -EINVAL },
                { IO_RING_LOAD, ZPCI_SPACE_CONFIG, 0, 4, -EINVAL },
                { IO_RING_LOAD, UINT32_MAX, 0, 4, -EINVAL },
        };
        IoRingEntry entry;

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                entry = (IoRingEntry){ .kind = cases[i].kind,
                                       .region = cases[i].region,
                                       .offset = cases[i].offset,
                                       .count = cases[i].count,
                                       .error = 99,
                                       .data = UINT64_MAX };
                cr_assert_eq(io_ring_check_entry(&target, &entry), cases[i].expected, "%zu", i);
        }
        for (size_t i = 0; i < ELEMENTS(entry.reserved); i++) {
                entry = (IoRingEntry){ .kind = IO_RING_LOAD, .count = 8 };
                entry.reserved[i] = 1;
                cr_assert_eq(io_ring_check_entry(&target, &entry), -EINVAL, "%zu", i);
        }
}

Test(io_ring, wakes) {
        unsigned empty = 0;

        for (unsigned round = 0; round < 3; round++) {
                for (unsigned i = 0; i < IO_RING_EMPTY_WAKES_MAX; i++)
                        cr_assert_eq(io_ring_woken(0, &empty), 0);
                cr_assert_eq(io_ring_woken(1, &empty), 0);
        }
        for (unsigned i = 0; i < IO_RING_EMPTY_WAKES_MAX; i++)
                cr_assert_eq(io_ring_woken(0, &empty), 0);
        cr_assert_eq(io_ring_woken(0, &empty), -EBADMSG);
}

static uint64_t clock_usec, n_asked;

static uint64_t read_clock(void) {
        n_asked++;
        return clock_usec;
}

Test(io_ring, spins_until_the_time_is_over) {
        IoRingSpin spin = { 0 };

        clock_usec = 1000;
        cr_assert(io_ring_spins_on(&spin, 50, read_clock));
        clock_usec = 1049;
        for (unsigned i = 0; i < 63; i++)
                cr_assert(io_ring_spins_on(&spin, 50, read_clock));
        cr_assert_eq(n_asked, 2, "once in 32 looks");
        clock_usec = 1050;
        cr_assert_not(io_ring_spins_on(&spin, 50, read_clock));
}
