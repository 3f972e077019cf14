#include "policy/zpci-request.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <inttypes.h>

#define KIB 1024U
#define END (64U * KIB) /* of BAR 0 */
#define MAX 128U

/* BAR 0 is large, BAR 1 is none, BAR 2 ends inside a doubleword and before a block, BAR 4 has the
 * MSI-X table. */
static const ZpciTarget strict = {
        .bar_size = { END, 0, 20, 0, 4 * KIB, UINT64_MAX },
        .config_size = 4096,
        .max_store_block = MAX,
        .msix_bar = 4,
        .msix_offset = 0x100,
        .msix_size = 0x40,
};

static ZpciTarget with(bool relaxed, bool natural, uint16_t max) {
        ZpciTarget target = strict;

        target.relaxed = relaxed;
        target.natural_loads = target.natural_stores = natural;
        target.max_store_block = max;
        return target;
}

typedef struct Case {
        unsigned pcias;
        uint64_t offset, length;
        ZpciViolation expected;
} Case;

typedef ZpciViolation Check(const ZpciTarget *target, unsigned pcias, uint64_t offset,
                            uint64_t length);

static void run(Check *check, const ZpciTarget *target, const Case *cases, size_t n) {
        for (size_t i = 0; i < n; i++) {
                const Case *c = &cases[i];
                ZpciViolation got = check(target, c->pcias, c->offset, c->length);

                cr_assert_eq(got, c->expected, "%zu: space %u, %" PRIu64 " at %#" PRIx64 ": %s", i,
                             c->pcias, c->length, c->offset, zpci_violation_to_string(got));
        }
}
#define RUN(check, target, cases) run(check, target, cases, sizeof(cases) / sizeof(*(cases)))

Test(zpci_request, loads_from_bars) {
        static const Case cases[] = {
                { 0, 0, 0, ZPCI_BAD_LENGTH },
                { 0, 0, 1, ZPCI_ALLOWED },
                { 0, 7, 1, ZPCI_ALLOWED },
                { 0, 0, 3, ZPCI_ALLOWED },
                { 0, 5, 3, ZPCI_ALLOWED },
                { 0, 6, 3, ZPCI_CROSSES },
                { 0, 0, 8, ZPCI_ALLOWED },
                { 0, 1, 8, ZPCI_CROSSES },
                { 0, 7, 2, ZPCI_CROSSES },
                { 0, 0, 9, ZPCI_BAD_LENGTH },
                { 0, 0, 16, ZPCI_BAD_LENGTH },
                { 0, 0, MAX, ZPCI_BAD_LENGTH },
                { 0, 0, MAX + 1, ZPCI_BAD_LENGTH },
                { 0, 0xff8, 8, ZPCI_ALLOWED },
                { 0, 0xfff, 2, ZPCI_CROSSES },
                { 0, END - 8, 8, ZPCI_ALLOWED },
                { 0, END - 1, 1, ZPCI_ALLOWED },
                { 0, END - 1, 2, ZPCI_PAST_END },
                { 0, END, 1, ZPCI_PAST_END },
                { 0, END, 0, ZPCI_BAD_LENGTH },
                { 0, UINT64_MAX, 1, ZPCI_PAST_END },
                { 0, UINT64_MAX, UINT64_MAX, ZPCI_PAST_END },
                { 0, UINT64_MAX - 7, 8, ZPCI_PAST_END },
                { 2, 16, 4, ZPCI_ALLOWED },
                { 2, 16, 8, ZPCI_PAST_END },
                { 5, UINT64_MAX - 8, 1, ZPCI_ALLOWED },
                { 5, UINT64_MAX - 1, 1, ZPCI_ALLOWED },
                { 5, UINT64_MAX, 1, ZPCI_PAST_END },
        };

        RUN(zpci_check_load, &strict, cases);
}

Test(zpci_request, loads_from_configuration_space) {
        static const Case cases[] = {
                { 15, 0, 0, ZPCI_BAD_LENGTH },  { 15, 0, 1, ZPCI_ALLOWED },
                { 15, 3, 1, ZPCI_ALLOWED },     { 15, 0, 2, ZPCI_ALLOWED },
                { 15, 1, 2, ZPCI_ALLOWED },     { 15, 3, 2, ZPCI_CROSSES },
                { 15, 0, 3, ZPCI_BAD_LENGTH },  { 15, 0, 4, ZPCI_ALLOWED },
                { 15, 2, 4, ZPCI_CROSSES },     { 15, 0, 8, ZPCI_BAD_LENGTH },
                { 15, 4092, 4, ZPCI_ALLOWED },  { 15, 4095, 1, ZPCI_ALLOWED },
                { 15, 4096, 1, ZPCI_PAST_END }, { 15, 4094, 4, ZPCI_PAST_END },
        };

        RUN(zpci_check_load, &strict, cases);
}

/* Every address space there could be: those with a BAR, and configuration space for loads alone. */
Test(zpci_request, every_space) {
        for (unsigned pcias = 0; pcias < 256; pcias++) {
                bool bar = pcias == 0 || pcias == 2 || pcias == 4 || pcias == 5;

                cr_assert_eq(zpci_check_load(&strict, pcias, 0, 4),
                             bar || pcias == 15 ? ZPCI_ALLOWED : ZPCI_BAD_SPACE, "%u", pcias);
                cr_assert_eq(zpci_check_store(&strict, pcias, 0, 4),
                             bar ? ZPCI_ALLOWED : ZPCI_BAD_SPACE, "%u", pcias);
                cr_assert_eq(zpci_check_store_block(&strict, pcias, 0, 16),
                             bar ? ZPCI_ALLOWED : ZPCI_BAD_SPACE, "%u", pcias);
        }
}

Test(zpci_request, strict_blocks) {
        static const Case cases[] = {
                { 0, 0, 0, ZPCI_BAD_LENGTH },
                { 0, 0, 1, ZPCI_BAD_LENGTH },
                { 0, 0, 8, ZPCI_BAD_LENGTH },
                { 0, 0, 9, ZPCI_BAD_LENGTH },
                { 0, 0, 12, ZPCI_BAD_LENGTH },
                { 0, 0, 16, ZPCI_ALLOWED },
                { 0, 8, 16, ZPCI_ALLOWED },
                { 0, 4, 16, ZPCI_BAD_ALIGNMENT },
                { 0, 1, 16, ZPCI_BAD_ALIGNMENT },
                { 0, 0, MAX, ZPCI_ALLOWED },
                { 0, 0, MAX + 1, ZPCI_BAD_LENGTH },
                { 0, 0, MAX + 8, ZPCI_BAD_LENGTH },
                { 0, 4096 - 16, 16, ZPCI_ALLOWED },
                { 0, 4096 - MAX, MAX, ZPCI_ALLOWED },
                { 0, 4096 - 8, 16, ZPCI_CROSSES },
                { 0, 8192 - 8, MAX, ZPCI_CROSSES },
                { 0, 4096, 16, ZPCI_ALLOWED },
                { 0, END - 16, 16, ZPCI_ALLOWED },
                { 0, END - 8, 16, ZPCI_PAST_END },
                { 0, END, 16, ZPCI_PAST_END },
                { 0, UINT64_MAX - 7, 16, ZPCI_PAST_END },
                { 0, UINT64_MAX, UINT64_MAX, ZPCI_PAST_END },
                { 2, 0, 16, ZPCI_ALLOWED },
                { 2, 8, 16, ZPCI_PAST_END },
        };

        RUN(zpci_check_store_block, &strict, cases);
}

Test(zpci_request, relaxed_blocks) {
        static const Case cases[] = {
                { 0, 0, 0, ZPCI_BAD_LENGTH },
                { 0, 0, 1, ZPCI_ALLOWED },
                { 0, 1, 8, ZPCI_ALLOWED },
                { 0, 3, 9, ZPCI_ALLOWED },
                { 0, 7, MAX, ZPCI_ALLOWED },
                { 0, 0, MAX + 1, ZPCI_BAD_LENGTH },
                { 0, 4095, 1, ZPCI_ALLOWED },
                { 0, 4095, 2, ZPCI_CROSSES },
                { 0, 4096 - MAX, MAX, ZPCI_ALLOWED },
                { 0, 4097 - MAX, MAX, ZPCI_CROSSES },
                { 0, END - 1, 1, ZPCI_ALLOWED },
                { 0, END - 1, 2, ZPCI_PAST_END },
                { 0, UINT64_MAX, 2, ZPCI_PAST_END },
                { 15, 0, 4, ZPCI_BAD_SPACE },
        };
        ZpciTarget relaxed = with(true, false, MAX);

        RUN(zpci_check_store_block, &relaxed, cases);
        RUN(zpci_check_store, &relaxed, cases);
}

/* A whole page at most, whatever maximum is given. */
Test(zpci_request, longest_block) {
        ZpciTarget page = with(false, false, 4096), relaxed = with(true, false, 4096);
        ZpciTarget none = with(false, false, 8);

        cr_assert_eq(zpci_check_store_block(&page, 0, 0, 4096), ZPCI_ALLOWED);
        cr_assert_eq(zpci_check_store_block(&page, 0, 8, 4096), ZPCI_CROSSES);
        cr_assert_eq(zpci_check_store_block(&page, 0, 0, 4104), ZPCI_BAD_LENGTH);
        cr_assert_eq(zpci_check_store_block(&relaxed, 0, 4096, 4096), ZPCI_ALLOWED);
        cr_assert_eq(zpci_check_store_block(&relaxed, 0, 1, 4096), ZPCI_CROSSES);
        cr_assert_eq(zpci_check_store_block(&none, 0, 0, 16), ZPCI_BAD_LENGTH);
        cr_assert_eq(zpci_check_store(&none, 0, 0, 8), ZPCI_ALLOWED);
}

Test(zpci_request, stores) {
        static const Case cases[] = {
                { 0, 0, 0, ZPCI_BAD_LENGTH },     { 0, 0, 1, ZPCI_ALLOWED },
                { 0, 1, 7, ZPCI_ALLOWED },        { 0, 1, 8, ZPCI_CROSSES },
                { 0, 7, 2, ZPCI_CROSSES },        { 0, 0, 8, ZPCI_ALLOWED },
                { 0, 0, 9, ZPCI_BAD_LENGTH },     { 0, 0, 16, ZPCI_ALLOWED },
                { 0, 0, MAX, ZPCI_ALLOWED },      { 0, 0, MAX + 1, ZPCI_BAD_LENGTH },
                { 0, 4, 16, ZPCI_BAD_ALIGNMENT }, { 0, END - 4, 4, ZPCI_ALLOWED },
                { 0, END - 4, 8, ZPCI_PAST_END }, { 15, 0, 4, ZPCI_BAD_SPACE },
        };

        RUN(zpci_check_store, &strict, cases);
}

/* What a back end would do in pieces: all but 1, 2, 4 and 8 bytes where they belong. */
Test(zpci_request, natural) {
        ZpciTarget natural = with(false, true, 8);

        for (uint64_t offset = 0; offset < 8; offset++)
                for (uint64_t length = 1; offset + length <= 8; length++) {
                        bool whole = (length == 1 || length == 2 || length == 4 || length == 8) &&
                                     offset % length == 0;
                        ZpciViolation expected = whole ? ZPCI_ALLOWED : ZPCI_WOULD_SPLIT;

                        cr_assert_eq(zpci_check_load(&natural, 0, offset, length), expected);
                        cr_assert_eq(zpci_check_store(&natural, 0, offset, length), expected);
                }
        cr_assert_eq(zpci_check_load(&natural, 15, 1, 2), ZPCI_WOULD_SPLIT);
}

Test(zpci_request, msix_table) {
        static const Case cases[] = {
                { 4, 0xf8, 8, ZPCI_ALLOWED },        { 4, 0x100, 1, ZPCI_IS_MSIX_TABLE },
                { 4, 0xf0, 24, ZPCI_IS_MSIX_TABLE }, { 4, 0x138, 8, ZPCI_IS_MSIX_TABLE },
                { 4, 0x140, 8, ZPCI_ALLOWED },       { 4, 0xf0, 16, ZPCI_ALLOWED },
                { 0, 0x100, 8, ZPCI_ALLOWED },
        };

        RUN(zpci_check_store, &strict, cases);
        cr_assert_eq(zpci_check_load(&strict, 4, 0x13f, 1), ZPCI_IS_MSIX_TABLE);
        cr_assert_eq(zpci_check_load(&strict, 4, 0x140, 1), ZPCI_ALLOWED);
}

/* Of all flags, two are an operation, each alone. */
Test(zpci_request, every_flag) {
        for (unsigned low = 0; low < 256; low++)
                for (unsigned shift = 0; shift < 64; shift += 8) {
                        ZpciRegionRequest request = { .flags = (uint64_t) low << shift,
                                                      .length = 4 };
                        ZpciViolation expected = request.flags == 1   ? ZPCI_ALLOWED
                                                 : request.flags == 2 ? ZPCI_BAD_LENGTH
                                                                      : ZPCI_BAD_OPERATION;

                        cr_assert_eq(zpci_check_request(&strict, &request), expected, "%#" PRIx64,
                                     request.flags);
                }
}

Test(zpci_request, source) {
        static const struct {
                uint64_t flags, gaddr;
                uint16_t length;
                ZpciViolation strict, relaxed;
        } cases[] = {
                { 2, 0x1000, 16, ZPCI_ALLOWED, ZPCI_ALLOWED },
                { 2, 0, 16, ZPCI_ALLOWED, ZPCI_ALLOWED },
                { 2, 0x1004, 16, ZPCI_BAD_SOURCE, ZPCI_ALLOWED },
                { 2, 0x1001, 16, ZPCI_BAD_SOURCE, ZPCI_ALLOWED },
                { 2, 0x1ff0, 16, ZPCI_ALLOWED, ZPCI_ALLOWED },
                { 2, 0x1ff8, 16, ZPCI_BAD_SOURCE, ZPCI_BAD_SOURCE },
                { 2, 0x1f80, MAX, ZPCI_ALLOWED, ZPCI_ALLOWED },
                { 2, 0x1f88, MAX, ZPCI_BAD_SOURCE, ZPCI_BAD_SOURCE },
                { 2, UINT64_MAX - 15, 16, ZPCI_ALLOWED, ZPCI_ALLOWED },
                { 2, UINT64_MAX - 7, 16, ZPCI_BAD_SOURCE, ZPCI_BAD_SOURCE },
                { 2, UINT64_MAX, 16, ZPCI_BAD_SOURCE, ZPCI_BAD_SOURCE },
                { 1, UINT64_MAX - 7, 8, ZPCI_ALLOWED, ZPCI_ALLOWED },
                { 1, UINT64_MAX - 6, 8, ZPCI_BAD_SOURCE, ZPCI_BAD_SOURCE },
                { 1, UINT64_MAX, 1, ZPCI_ALLOWED, ZPCI_ALLOWED },
                { 1, UINT64_MAX, 2, ZPCI_BAD_SOURCE, ZPCI_BAD_SOURCE },
                { 1, 0x1fff, 8, ZPCI_ALLOWED, ZPCI_ALLOWED },
        };
        ZpciTarget relaxed = with(true, false, MAX);

        for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                ZpciRegionRequest request = { .flags = cases[i].flags,
                                              .gaddr = cases[i].gaddr,
                                              .length = cases[i].length,
                                              .reserved1 = 1,
                                              .reserved2 = 1 };

                cr_assert_eq(zpci_check_request(&strict, &request), cases[i].strict, "%zu", i);
                cr_assert_eq(zpci_check_request(&relaxed, &request), cases[i].relaxed, "%zu", i);
        }
}

Test(zpci_request, region) {
        static const struct {
                uint64_t offset, count;
                int read, write;
        } cases[] = {
                { 0, 16, 0, -EFAULT },
                { 0, 8, 0, -EFAULT },
                { 15, 1, 0, -EFAULT },
                { 15, 2, -EFAULT, -EFAULT },
                { 0, 17, -EFAULT, -EFAULT },
                { 0, 0, -EINVAL, -EINVAL },
                { 16, 32, -EFAULT, 0 },
                { 16, 31, -EFAULT, -EFAULT },
                { 16, 33, -EFAULT, -EFAULT },
                { 16, 16, -EFAULT, -EFAULT },
                { 17, 31, -EFAULT, -EFAULT },
                { 32, 16, -EFAULT, -EFAULT },
                { 47, 1, -EFAULT, -EFAULT },
                { 48, 1, -EINVAL, -EINVAL },
                { 48, 32, -EINVAL, -EINVAL },
                { UINT64_MAX, UINT64_MAX, -EINVAL, -EINVAL },
                { 0, UINT64_MAX, -EFAULT, -EFAULT },
                { 1, UINT64_MAX, -EFAULT, -EFAULT },
        };

        for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                cr_assert_eq(zpci_region_check_read(cases[i].offset, cases[i].count), cases[i].read,
                             "%zu", i);
                cr_assert_eq(zpci_region_check_write(cases[i].offset, cases[i].count),
                             cases[i].write, "%zu", i);
        }
}

Test(zpci_request, words) {
        for (int i = 0; i < ZPCI_VIOLATION_MAX; i++)
                cr_assert_not_null(zpci_violation_to_string((ZpciViolation) i));
        cr_assert_null(zpci_violation_to_string(ZPCI_VIOLATION_MAX));
        cr_assert_null(zpci_violation_to_string(ZPCI_VIOLATION_INVALID));
}
