/* Over images of configuration spaces (see config-image.h), and over made-up registers. */
#include "policy/pcie.h"

#include "config-image.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <linux/pci_regs.h>

static int image_read(void *context, unsigned offset, uint32_t *ret) {
        Image *image = context;

        cr_assert_eq(offset % 4, 0, "0x%x", offset);
        if ((int) image->reads++ == image->fail_at)
                return -EIO;
        if (offset + 4 > image->size)
                return -EPERM;
        *ret = image_word(image, offset);
        return 0;
}

static void set_word(Image *image, unsigned offset, uint32_t value) {
        for (unsigned i = 0; i < 4; i++)
                image->bytes[offset + i] = (uint8_t) (value >> (8 * i));
}

/* A function with Express at 0x40 and a serial number at 0x100. */
static void make(Image *image, unsigned type, uint16_t link_status) {
        *image = (Image){ .size = IMAGE_SIZE_MAX, .fail_at = -1 };
        set_word(image, PCI_COMMAND, (uint32_t) PCI_STATUS_CAP_LIST << 16);
        set_word(image, PCI_CAPABILITY_LIST, 0x40);
        set_word(image, 0x40, PCI_CAP_ID_EXP | (type << 4 | 2) << 16);
        set_word(image, 0x40 + PCI_EXP_LNKCTL, (uint32_t) link_status << 16);
        set_word(image, 0x100, PCI_EXT_CAP_ID_DSN | 1 << 16);
        set_word(image, 0x104, 0xff010203);
        set_word(image, 0x108, 0x90e2baff);
}

static void expect(Image *image, int result, uint32_t speed, uint8_t width, uint64_t serial) {
        Pcie pcie = { .link_speed = 99, .link_width = 99, .has_serial = true, .serial = 99 };

        cr_expect_eq(pcie_find(image_read, image, image->size > 256, &pcie), result);
        cr_expect_eq(pcie.link_speed, speed, "%u", pcie.link_speed);
        cr_expect_eq(pcie.link_width, width, "%u", pcie.link_width);
        cr_expect_eq(pcie.has_serial, serial != 0);
        cr_expect_eq(pcie.serial, serial, "%lx", (unsigned long) pcie.serial);
}

#define SERIAL 0x90e2baffff010203

Test(pcie, recorded) {
        static Image image;

        image_load(&image, "qemu-igb");
        expect(&image, 0, 2500, 1, 0);
        image_load(&image, "gone");
        expect(&image, -ENODEV, 0, 0, 0);
        image_load(&image, "unprivileged-64");
        expect(&image, -EPERM, 0, 0, 0);
        image_load(&image, "no-list");
        expect(&image, 0, 0, 0, 0);
}

Test(pcie, links) {
        static const struct {
                unsigned type;
                uint16_t status;
                uint32_t speed;
                uint8_t width;
        } rows[] = {
                { PCI_EXP_TYPE_ENDPOINT, 0x0041, 2500, 4 },
                { PCI_EXP_TYPE_ENDPOINT, 0x1082, 5000, 8 },
                { PCI_EXP_TYPE_ENDPOINT, 0x0103, 8000, 16 },
                { PCI_EXP_TYPE_ROOT_PORT, 0x0014, 16000, 1 },
                { PCI_EXP_TYPE_DOWNSTREAM, 0x0025, 32000, 2 },
                { PCI_EXP_TYPE_UPSTREAM, 0x0206, 64000, 32 },
                { PCI_EXP_TYPE_ENDPOINT, 0x0047, 0, 4 }, /* a later speed */
                { PCI_EXP_TYPE_ENDPOINT, 0x0000, 0, 0 },
                { PCI_EXP_TYPE_RC_END, 0x0041, 0, 0 },
                { PCI_EXP_TYPE_RC_EC, 0x0041, 0, 0 },
        };

        for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
                static Image image;

                make(&image, rows[i].type, rows[i].status);
                expect(&image, 0, rows[i].speed, rows[i].width, SERIAL);
        }
}

Test(pcie, broken_lists) {
        static Image image;

        make(&image, PCI_EXP_TYPE_ENDPOINT, 0x0041);
        set_word(&image, 0x40, PCI_CAP_ID_MSI | 0x40 << 8); /* itself */
        expect(&image, -EBADMSG, 0, 0, 0);
        make(&image, PCI_EXP_TYPE_ENDPOINT, 0x0041);
        set_word(&image, PCI_CAPABILITY_LIST, 0x20);
        expect(&image, -EBADMSG, 0, 0, 0);
        make(&image, PCI_EXP_TYPE_ENDPOINT, 0x0041);
        set_word(&image, PCI_CAPABILITY_LIST, 0xf8);
        set_word(&image, 0xf8, PCI_CAP_ID_EXP | 2 << 16); /* no room */
        expect(&image, -EBADMSG, 0, 0, 0);
        make(&image, PCI_EXP_TYPE_ENDPOINT, 0x0041);
        set_word(&image, 0x100, 1 | 0x100U << 20); /* itself */
        expect(&image, -EBADMSG, 0, 0, 0);
}

Test(pcie, each_read_can_fail) {
        static Image image;

        for (int i = 0; i < 8; i++) {
                make(&image, PCI_EXP_TYPE_ENDPOINT, 0x0041);
                image.fail_at = i;
                expect(&image, -EIO, 0, 0, 0);
        }
        make(&image, PCI_EXP_TYPE_ENDPOINT, 0x0041);
        image.fail_at = 8;
        expect(&image, 0, 2500, 4, SERIAL);
}

/* Either half of a serial number may be all ones. */
Test(pcie, serials) {
        static Image image;

        make(&image, PCI_EXP_TYPE_ENDPOINT, 0x0041);
        set_word(&image, 0x108, 0xffffffff);
        expect(&image, 0, 2500, 4, 0xffffffffff010203);
        set_word(&image, 0x104, 0xffffffff);
        expect(&image, -ENODEV, 0, 0, 0);
        make(&image, PCI_EXP_TYPE_ENDPOINT, 0x0041);
        image.size = 256;
        expect(&image, 0, 2500, 4, 0);
}
