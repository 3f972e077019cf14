#include "policy/address.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

static const struct {
        const char *text;
        PciAddress address;
} good[] = {
        { "0000:00:00.0", { 0, 0, 0, 0 } },
        { "0000:01:10.2", { 0, 1, 0x10, 2 } },
        { "ffff:ff:1f.7", { 0xffff, 0xff, 0x1f, 7 } },
        { "10000:e0:06.0", { 0x10000, 0xe0, 6, 0 } },
        { "ffffffff:ff:1f.7", { 0xffffffff, 0xff, 0x1f, 7 } },
        { "0013:00:00.0", { 0x13, 0, 0, 0 } },
};

Test(address, parses_and_formats_the_kernels_form) {
        for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
                char text[PCI_ADDRESS_STRING_MAX];
                PciAddress parsed;

                cr_assert_eq(pci_address_parse(good[i].text, &parsed), 0, "%s", good[i].text);
                cr_assert_eq(pci_address_key(parsed), pci_address_key(good[i].address), "%s",
                             good[i].text);
                cr_assert_str_eq(pci_address_format(parsed, text), good[i].text);
                parsed = pci_address_from_key(pci_address_key(parsed));
                cr_assert_str_eq(pci_address_format(parsed, text), good[i].text);
        }
}

Test(address, takes_upper_case) {
        PciAddress parsed;

        cr_assert_eq(pci_address_parse("00AB:CD:1F.7", &parsed), 0);
        cr_assert_eq(parsed.domain, 0xab);
        cr_assert_eq(parsed.bus, 0xcd);
}

Test(address, refuses_everything_else) {
        static const char *const bad[] = {
                "",
                "0000",
                "0000:00",
                "0000:00:00",
                "0000:00:00.",
                "0000:00:00.8",
                "0000:00:20.0",
                "0000:00:00.0 ",
                " 0000:00:00.0",
                "0000:00:00.0\n",
                "0000:00:00.00",
                "000:00:00.0",
                "00000:00:00.0",
                "00001:00:00.0",
                "100000000:00:00.0",
                "0000:0:00.0",
                "0000:000:00.0",
                "0000:00:0.0",
                "0000-00:00.0",
                "0000:00.00.0",
                "0000:00:00:0",
                "0x00:00:00.0",
                "000g:00:00.0",
                "00:00.0",
                "-000:00:00.0",
                "0000:00:00.-1",
        };

        for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
                PciAddress parsed = { 1, 2, 3, 4 };

                cr_assert_eq(pci_address_parse(bad[i], &parsed), -EINVAL, "'%s'", bad[i]);
                cr_assert_eq(parsed.domain, 1, "'%s' wrote its result", bad[i]);
        }
}

Test(address, keys_sort_as_addresses) {
        for (size_t i = 1; i < 4; i++)
                cr_assert_lt(pci_address_key(good[i - 1].address),
                             pci_address_key(good[i].address));
}

Test(address, reads_slots) {
        static const struct {
                const char *text;
                bool devfn;
                int result;
                PciAddress address;
        } slots[] = {
                { "0000:01:00", false, 0, { 0, 1, 0, 0 } },
                { "0000:01:1f", false, 0, { 0, 1, 0x1f, 0 } },
                { "0000:01:20", false, -EINVAL, { 0 } },
                { "0040:00:80", true, 0, { 0x40, 0, 0x10, 0 } }, /* s390 says the devfn there */
                { "0040:00:81", true, 0, { 0x40, 0, 0x10, 1 } },
                { "0000:01", false, -EINVAL, { 0 } }, /* a slot for no device */
                { "0000:01:00.0", false, -EINVAL, { 0 } },
                { "", false, -EINVAL, { 0 } },
        };

        for (size_t i = 0; i < sizeof(slots) / sizeof(*slots); i++) {
                PciAddress parsed = { 0 };

                cr_assert_eq(pci_address_parse_slot(slots[i].text, slots[i].devfn, &parsed),
                             slots[i].result, "%s", slots[i].text);
                cr_assert_eq(pci_address_key(parsed), pci_address_key(slots[i].address), "%s",
                             slots[i].text);
        }
}
