/* Over images of configuration spaces (see config-image.h), and over made-up lists of a few
 * words. */
#include "policy/msix.h"

#include "config-image.h"

#include <criterion/criterion.h>
#include <errno.h>

/* Insists on what the header promises to a reader. */
static int image_read(void *context, unsigned offset, uint32_t *ret) {
        Image *image = context;

        cr_assert_eq(offset % 4, 0, "0x%x", offset);
        cr_assert_leq(offset, 0xfc, "0x%x", offset);
        cr_assert_not(image->asked[offset / 4], "0x%x is read again", offset);
        image->asked[offset / 4] = true;
        if ((int) image->reads++ == image->fail_at)
                return -EIO;
        if (offset + 4 > image->size)
                return -EPERM;
        *ret = image_word(image, offset);
        return 0;
}

#define MSIX(n, table_in, table_at, pba_in, pba_at)                                             \
        {                                                                                       \
                .present = true, .vectors = n, .table_bar = table_in, .table_offset = table_at, \
                .pba_bar = pba_in, .pba_offset = pba_at                                         \
        }

static void check(const char *name, Image *image, int result, const Msix *expected) {
        Msix msix = { .present = true, .vectors = 99 };
        int r = msix_find(image_read, image, &msix);

        cr_assert_eq(r, result, "%s: %d", name, r);
        cr_assert(msix_equal(&msix, expected), "%s: %u vectors, BAR %u 0x%x, BAR %u 0x%x", name,
                  msix.vectors, msix.table_bar, msix.table_offset, msix.pba_bar, msix.pba_offset);
        cr_assert_leq(image->reads, 3 + 48 + 2, "%s", name);
}

static const struct {
        const char *name;
        int result;
        Msix msix;
} images[] = {
        { "qemu-igb", 0, MSIX(10, 3, 0, 3, 0x2000) },
        { "qemu-igb-vf", 0, MSIX(3, 3, 0, 3, 0x2000) },
        { "qemu-nvme", 0, MSIX(3, 0, 0x2000, 0, 0x3000) },
        { "qemu-e1000e", 0, MSIX(5, 3, 0, 3, 0x2000) },
        { "intel-dsa", 0, { 0 } }, /* the recording is of other capabilities */
        { "gone", -ENODEV, { 0 } },
        { "unprivileged-64", -EPERM, { 0 } },
        { "empty-0", -EPERM, { 0 } },
};

Test(msix, recorded) {
        for (size_t i = 0; i < sizeof(images) / sizeof(*images); i++) {
                static Image image;

                image_load(&image, images[i].name);
                check(images[i].name, &image, images[i].result, &images[i].msix);
        }
}

#define LIST \
        { 0x04, 0x00100000 } /* status: there is a list */
#define AT(to) \
        { 0x34, to }
#define MSIX_ID 0x11U
#define CAP(at, id, next) \
        { at, (id) | (next) << 8 }
#define ONES 0xffffffffU

static const struct {
        const char *name;
        struct {
                unsigned offset;
                uint32_t word;
        } words[8];
        unsigned size; /* 0: 256 */
        int result;
        Msix msix;
} lists[] = {
        { "nothing", { { 0 } }, 0, 0, { 0 } },
        { "no list, though there is a pointer", { AT(0x40), CAP(0x40, MSIX_ID, 0) }, 0, 0, { 0 } },
        { "an empty list", { LIST, CAP(0x40, MSIX_ID, 0) }, 0, 0, { 0 } },
        { "alone",
          { LIST, AT(0x40), CAP(0x40, MSIX_ID, 0), { 0x44, 1 }, { 0x48, 0x802 } },
          0,
          0,
          MSIX(1, 1, 0, 2, 0x800) },
        { "the most that can be",
          { LIST, AT(0x40), { 0x40, 0xffff0011 }, { 0x44, 0xfffffffd }, { 0x48, 0xfffffffd } },
          0,
          0,
          MSIX(2048, 5, 0xfffffff8, 5, 0xfffffff8) },
        { "only its own bits count as the size",
          { LIST, AT(0x40), { 0x40, 0xf8000011 } },
          0,
          0,
          MSIX(1, 0, 0, 0, 0) },
        { "behind others",
          { LIST,
            AT(0xf0),
            CAP(0xf0, 0x10, 0x50U),
            CAP(0x50, 0x05, 0x80U),
            CAP(0x80, MSIX_ID, 0),
            { 0x84, 4 } },
          0,
          0,
          MSIX(1, 4, 0, 0, 0) },
        { "reserved bits of pointers",
          { LIST, { 0x34, 0xffffff43 }, CAP(0x40, 0x01, 0x53U), { 0x50, 0x00040011 } },
          0,
          0,
          MSIX(5, 0, 0, 0, 0) },
        { "at the end of the space",
          { LIST, AT(0xf4), { 0xf4, 0x00000011 }, { 0xfc, 3 } },
          0,
          0,
          MSIX(1, 0, 0, 3, 0) },
        { "a bridge",
          { LIST, { 0x0c, 0x00010000 }, AT(0x40), CAP(0x40, MSIX_ID, 0) },
          0,
          0,
          MSIX(1, 0, 0, 0, 0) },
        { "a CardBus bridge",
          { LIST, { 0x0c, 0x00820000 }, { 0x14, 0x40 }, AT(0x80), CAP(0x40, MSIX_ID, 0) },
          0,
          0,
          MSIX(1, 0, 0, 0, 0) },
        { "the first of two",
          { LIST, AT(0x40), { 0x40, 0x00035011 }, { 0x50, 0x00070011 } },
          0,
          0,
          MSIX(4, 0, 0, 0, 0) },
        { "the list loops behind it",
          { LIST, AT(0x40), { 0x40, 0x00004011 } },
          0,
          0,
          MSIX(1, 0, 0, 0, 0) },
        { "a header of zeros ends the list",
          { LIST, AT(0x40), CAP(0x40, 0x01, 0x60U) },
          0,
          0,
          { 0 } },

        { "a loop of one", { LIST, AT(0x40), CAP(0x40, 0x01, 0x40U) }, 0, -EBADMSG, { 0 } },
        { "a loop of two",
          { LIST, AT(0x40), CAP(0x40, 0x01, 0x50U), CAP(0x50, 0x05, 0x40U) },
          0,
          -EBADMSG,
          { 0 } },
        { "a pointer into the header, first",
          { LIST, AT(0x3c), { 0x3c, 0x11 } },
          0,
          -EBADMSG,
          { 0 } },
        { "a pointer into the header, later",
          { LIST, AT(0x40), CAP(0x40, 0x01, 0x08U) },
          0,
          -EBADMSG,
          { 0 } },
        { "no room for the table", { LIST, AT(0xfc), { 0xfc, 0x11 } }, 0, -EBADMSG, { 0 } },
        { "no room for the pending bits", { LIST, AT(0xf8), { 0xf8, 0x11 } }, 0, -EBADMSG, { 0 } },
        { "over another capability",
          { LIST, AT(0x48), CAP(0x48, 0x01, 0x44U), { 0x44, 0x11 } },
          0,
          -EBADMSG,
          { 0 } },
        { "the table in BAR 6",
          { LIST, AT(0x40), { 0x40, 0x11 }, { 0x44, 6 } },
          0,
          -EBADMSG,
          { 0 } },
        { "the pending bits in BAR 7",
          { LIST, AT(0x40), { 0x40, 0x11 }, { 0x48, 7 } },
          0,
          -EBADMSG,
          { 0 } },

        { "it vanishes at the header", { LIST, { 0x0c, ONES } }, 0, -ENODEV, { 0 } },
        { "it vanishes at the pointer", { LIST, { 0x34, ONES } }, 0, -ENODEV, { 0 } },
        { "it vanishes in the list",
          { LIST, AT(0x40), CAP(0x40, 0x01, 0x50U), { 0x50, ONES } },
          0,
          -ENODEV,
          { 0 } },
        { "it vanishes at the table",
          { LIST, AT(0x40), { 0x40, 0x11 }, { 0x44, ONES } },
          0,
          -ENODEV,
          { 0 } },
        { "it vanishes at the pending bits",
          { LIST, AT(0x40), { 0x40, 0x11 }, { 0x48, ONES } },
          0,
          -ENODEV,
          { 0 } },

        { "64 bytes", { LIST, AT(0x40) }, 64, -EPERM, { 0 } },
        { "cut in the list", { LIST, AT(0x40), CAP(0x40, 0x01, 0x50U) }, 0x50, -EPERM, { 0 } },
        { "cut at the table", { LIST, AT(0x40), { 0x40, 0x11 } }, 0x44, -EPERM, { 0 } },
        { "cut in the pending bits", { LIST, AT(0x40), { 0x40, 0x11 } }, 0x4a, -EPERM, { 0 } },
};

#define N_LISTS (sizeof(lists) / sizeof(*lists))

static void list_load(Image *image, size_t number) {
        *image = (Image){ .fail_at = -1, .size = lists[number].size ? lists[number].size : 256 };
        for (unsigned i = 0; i < 8; i++)
                for (unsigned byte = 0; lists[number].words[i].word != 0 && byte < 4; byte++)
                        image->bytes[lists[number].words[i].offset + byte] =
                                (uint8_t) (lists[number].words[i].word >> 8 * byte);
}

Test(msix, lists) {
        for (size_t i = 0; i < N_LISTS; i++) {
                static Image image;

                list_load(&image, i);
                check(lists[i].name, &image, lists[i].result, &lists[i].msix);
        }
}

/* Whatever read fails, that is the answer, and nothing more is read. */
Test(msix, failing_reads) {
        for (size_t i = 0; i < N_LISTS; i++)
                for (unsigned n = 0;; n++) {
                        static Image image;
                        Msix msix = { .present = true };

                        list_load(&image, i);
                        image.fail_at = (int) n;
                        if (msix_find(image_read, &image, &msix) != -EIO) {
                                cr_assert_leq(image.reads, n, "%s", lists[i].name);
                                break;
                        }
                        cr_assert_not(msix.present, "%s", lists[i].name);
                        cr_assert_eq(image.reads, n + 1, "%s", lists[i].name);
                }
}

/* Each bit of the id and of the three words, alone, says what the specification says and nothing
 * else. */
Test(msix, each_bit) {
        for (unsigned bit = 0; bit < 96; bit++) {
                static Image image;
                Msix msix, expected = { .present = true, .vectors = 1 };
                uint32_t value = UINT32_C(1) << bit % 32;
                int r;

                image = (Image){ .fail_at = -1, .size = 256 };
                image.bytes[0x06] = 0x10;
                image.bytes[0x34] = 0x80;
                image.bytes[0x80] = 0x11;
                image.bytes[0x80 + bit / 8] ^= (uint8_t) (1U << bit % 8);
                r = msix_find(image_read, &image, &msix);
                if (bit < 8)
                        expected.present = false;
                else if (bit >= 16 && bit < 27)
                        expected.vectors = (uint16_t) ((1U << (bit - 16)) + 1);
                else if (bit >= 32 && bit < 35)
                        expected.table_bar = (uint8_t) value;
                else if (bit >= 35 && bit < 64)
                        expected.table_offset = value;
                else if (bit >= 64 && bit < 67)
                        expected.pba_bar = (uint8_t) value;
                else if (bit >= 67)
                        expected.pba_offset = value;
                /* Pointers to 0x04, 0x08, 0x10 and 0x20 are not followed: it was found. */
                cr_assert_eq(r, 0, "bit %u: %d", bit, r);
                cr_assert(msix_equal(&msix, &expected), "bit %u", bit);
        }
}

/* The list may lead to any place, and is bounded whatever it says: random images, always the
 * same. */
Test(msix, random_images) {
        uint64_t random = 88172645463325252ULL;
        static Image image;

        for (unsigned round = 0; round < 5000; round++) {
                Msix msix;
                int r;

                image = (Image){ .size = 256, .fail_at = -1 };
                for (unsigned i = 0; i < 256; i++) {
                        random ^= random << 13;
                        random ^= random >> 7;
                        random ^= random << 17;
                        image.bytes[i] = (uint8_t) (random & (i % 4 == 0 ? 0x13 : 0xff));
                }
                image.bytes[0x06] |= 0x10;
                r = msix_find(image_read, &image, &msix);
                cr_assert(r == 0 || r == -EBADMSG || r == -ENODEV, "%d", r);
                cr_assert(r == 0 || !msix.present);
        }
}

Test(msix, equal) {
        const Msix none = { 0 }, noise = { .vectors = 9 };
        const Msix a = MSIX(10, 3, 0, 3, 0x2000);
        Msix b;

        cr_assert(msix_equal(&none, &noise));
        cr_assert_not(msix_equal(&none, &a));
        cr_assert_not(msix_equal(&a, &none));
        cr_assert(msix_equal(&a, &a));
        b = a, b.vectors = 11;
        cr_assert_not(msix_equal(&a, &b));
        b = a, b.table_bar = 2;
        cr_assert_not(msix_equal(&a, &b));
        b = a, b.table_offset = 8;
        cr_assert_not(msix_equal(&a, &b));
        b = a, b.pba_bar = 2;
        cr_assert_not(msix_equal(&a, &b));
        b = a, b.pba_offset = 8;
        cr_assert_not(msix_equal(&a, &b));
}
