/* Over images of configuration spaces; see config-image.h. */
#include "policy/pasid.h"

#include "config-image.h"

#include <criterion/criterion.h>
#include <errno.h>

/* Insists on what the header promises to a reader. */
static int image_read(void *context, unsigned offset, uint32_t *ret) {
        Image *image = context;

        cr_assert_eq(offset % 4, 0, "0x%x", offset);
        cr_assert(offset >= 0x100 && offset <= 0xffc, "0x%x", offset);
        cr_assert_not(image->asked[offset / 4], "0x%x is read again", offset);
        image->asked[offset / 4] = true;
        if (image->highest < offset)
                image->highest = offset;
        if ((int) image->reads++ == image->fail_at)
                return -EIO;
        if (offset + 4 > image->size)
                return -EPERM;
        *ret = image_word(image, offset);
        return 0;
}

#define PASID(...) \
        { .present = true, __VA_ARGS__ }

static const struct {
        const char *name;
        int result;
        Pasid pasid;
        unsigned reads;
} cases[] = {
        { "intel-dsa", 0, PASID(.enabled = true, .privileged = true, .width = 20), 8 },
        { "intel-gpu", 0, PASID(.width = 20), 2 },
        { "intel-gpu-sriov", 0, PASID(.width = 20), 2 },
        { "amd-gpu", 0, PASID(.execute = true, .privileged = true, .width = 16), 8 },
        { "amd-gpu-enabled", 0,
          PASID(.enabled = true, .execute = true, .privileged = true, .width = 16), 8 },
        { "ats-without-pasid", 0, { 0 }, 4 },
        { "pasid-first", 0,
          PASID(.enabled = true, .execute = true, .privileged = true, .width = 20), 2 },
        { "pasid-last", 0, PASID(.enabled = true, .execute = true, .privileged = true, .width = 20),
          3 },
        { "pasid-backwards", 0,
          PASID(.enabled = true, .execute = true, .privileged = true, .width = 20), 5 },
        { "pasid-no-room", -EBADMSG, { 0 }, 2 },
        { "other-at-the-end", 0,
          PASID(.enabled = true, .execute = true, .privileged = true, .width = 20), 4 },
        { "versions", 0, PASID(.enabled = true, .execute = true, .privileged = true, .width = 20),
          4 },
        { "version-0", 0, PASID(.enabled = true, .execute = true, .privileged = true, .width = 20),
          2 },
        { "reserved-bits", 0, PASID(.width = 0), 3 },
        { "no-list", 0, { 0 }, 1 },
        { "null-capability", 0,
          PASID(.enabled = true, .execute = true, .privileged = true, .width = 20), 4 },
        { "ends-in-nothing", 0, { 0 }, 2 },
        { "loop-self", -EBADMSG, { 0 }, 1 },
        { "loop-first", -EBADMSG, { 0 }, 2 },
        { "loop-later", -EBADMSG, { 0 }, 3 },
        { "loop-behind", 0,
          PASID(.enabled = true, .execute = true, .privileged = true, .width = 20), 3 },
        { "longest-list", -EBADMSG, { 0 }, 960 },
        { "below-0x100", -EBADMSG, { 0 }, 1 },
        { "below-by-4", -EBADMSG, { 0 }, 1 },
        { "overlap", -EBADMSG, { 0 }, 3 },
        { "width-zero", 0, PASID(.enabled = true), 2 },
        { "width-odd", 0, PASID(.privileged = true, .width = 31), 2 },
        { "gone", -ENODEV, { 0 }, 1 },
        { "dies-at-registers", -ENODEV, { 0 }, 2 },
        { "dies-in-list", -ENODEV, { 0 }, 2 },
        { "cut-in-list", -EPERM, { 0 }, 2 },
        { "cut-at-registers", -EPERM, { 0 }, 3 },
        { "conventional-256", -EPERM, { 0 }, 1 },
        { "unprivileged-64", -EPERM, { 0 }, 1 },
        { "empty-0", -EPERM, { 0 }, 1 },
};

#define N_CASES (sizeof(cases) / sizeof(*cases))

static void assert_pasid(const char *name, const Pasid *actual, const Pasid *expected) {
        cr_assert_eq(actual->present, expected->present, "%s", name);
        cr_assert_eq(actual->enabled, expected->enabled, "%s", name);
        cr_assert_eq(actual->execute, expected->execute, "%s", name);
        cr_assert_eq(actual->privileged, expected->privileged, "%s", name);
        cr_assert_eq(actual->width, expected->width, "%s", name);
}

Test(pasid, images) {
        for (size_t i = 0; i < N_CASES; i++) {
                static Image image;
                Pasid pasid = { true, true, true, true, 99 };
                int r;

                image_load(&image, cases[i].name);
                r = pasid_find(image_read, &image, &pasid);
                cr_assert_eq(r, cases[i].result, "%s: %d", cases[i].name, r);
                assert_pasid(cases[i].name, &pasid, &cases[i].pasid);
                cr_assert_eq(image.reads, cases[i].reads, "%s: %u reads", cases[i].name,
                             image.reads);
        }
}

/* Whatever read fails, that is the answer, and nothing more is read. */
Test(pasid, failing_reads) {
        for (size_t i = 0; i < N_CASES; i++)
                for (unsigned n = 0; n < cases[i].reads && n < 16; n++) {
                        static Image image;
                        Pasid pasid = { true, true, true, true, 99 };

                        image_load(&image, cases[i].name);
                        image.fail_at = (int) n;
                        cr_assert_eq(pasid_find(image_read, &image, &pasid), -EIO, "%s",
                                     cases[i].name);
                        assert_pasid(cases[i].name, &pasid, &(Pasid){ 0 });
                        cr_assert_eq(image.reads, n + 1, "%s", cases[i].name);
                }
}

/* Each bit of the registers, alone, says what the specification says and nothing else. */
Test(pasid, each_bit_of_the_registers) {
        for (unsigned bit = 0; bit < 32; bit++) {
                static Image image;
                Pasid pasid, expected = { .present = true };
                uint32_t registers = UINT32_C(1) << bit;

                image_load(&image, "pasid-first");
                for (unsigned i = 0; i < 4; i++)
                        image.bytes[0x104 + i] = (uint8_t) (registers >> 8 * i);
                expected.execute = bit == 1;
                expected.privileged = bit == 2;
                if (bit >= 8 && bit <= 12)
                        expected.width = (uint8_t) (1U << (bit - 8));
                expected.enabled = bit == 16;
                cr_assert_eq(pasid_find(image_read, &image, &pasid), 0);
                assert_pasid("a bit", &pasid, &expected);
        }
}

/* Only 0x001b is PASID, in all 16 bits. */
Test(pasid, each_bit_of_the_id) {
        for (unsigned bit = 0; bit < 16; bit++) {
                static Image image;
                Pasid pasid;

                image_load(&image, "pasid-first");
                image.bytes[0x100 + bit / 8] ^= (uint8_t) (1U << bit % 8);
                cr_assert_eq(pasid_find(image_read, &image, &pasid), 0);
                cr_assert_not(pasid.present, "bit %u", bit);
        }
}

/* The list may lead to any place, and is bounded whatever it says: random images, always the
 * same. */
Test(pasid, random_images) {
        uint64_t random = 88172645463325252ULL;
        static Image image;

        for (unsigned round = 0; round < 2000; round++) {
                Pasid pasid;
                int r;

                image = (Image){ .size = IMAGE_SIZE_MAX, .fail_at = -1 };
                for (unsigned i = 0x100; i < IMAGE_SIZE_MAX; i += 4) {
                        random ^= random << 13;
                        random ^= random >> 7;
                        random ^= random << 17;
                        /* Small ids, so that PASID comes up. */
                        uint32_t header = (uint32_t) random & 0xfff7001fU;
                        memcpy(image.bytes + i, &header, sizeof(header));
                }
                r = pasid_find(image_read, &image, &pasid);
                cr_assert(r == 0 || r == -EBADMSG || r == -ENODEV, "%d", r);
                cr_assert(r == 0 || !pasid.present);
                cr_assert_leq(image.reads, 960);
        }
}

Test(pasid, equal) {
        const Pasid none = { 0 }, noise = { .enabled = true, .width = 9 };
        const Pasid a = { true, true, true, true, 20 };
        Pasid b;

        cr_assert(pasid_equal(&none, &noise));
        cr_assert_not(pasid_equal(&none, &a));
        cr_assert_not(pasid_equal(&a, &none));
        cr_assert(pasid_equal(&a, &a));
        b = a, b.enabled = false;
        cr_assert_not(pasid_equal(&a, &b));
        b = a, b.execute = false;
        cr_assert_not(pasid_equal(&a, &b));
        b = a, b.privileged = false;
        cr_assert_not(pasid_equal(&a, &b));
        b = a, b.width = 19;
        cr_assert_not(pasid_equal(&a, &b));
}
