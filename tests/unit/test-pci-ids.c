#include "policy/pci-ids.h"

#include <criterion/criterion.h>

static const char text[] = "# a comment\n"
                           "\n"
                           "0001  First \n"
                           "\t0002  First's two\n"
                           "# in between\n"
                           "\t0003\tFirst's three\t\n"
                           "\t\t0004 0005  A subsystem\n"
                           "\n"
                           "\t00aB  After a gap\n"
                           "00a0  Second\n"
                           "\t0002  Second's two\n"
                           "\t000g  No number\n"
                           "\t00061 Five digits\n"
                           "00b0  \n"
                           "0001  Again\n"
                           "\t0009  Again's nine\n"
                           "C 00  A class\n"
                           "\t07  A subclass\n"
                           "\t0007  No device of anybody\n"
                           "ffff  Last, and no end of line";

static void expect(const char *vendor_name, const char *device_name, uint16_t vendor,
                   uint16_t device) {
        g_autoptr(PciIds) ids = pci_ids_new(g_strdup(text));
        g_autofree char *found_vendor = pci_ids_vendor(ids, vendor);
        g_autofree char *found_device = pci_ids_device(ids, vendor, device);

        cr_assert(g_strcmp0(found_vendor, vendor_name) == 0, "%04x: %s", vendor, found_vendor);
        cr_assert(g_strcmp0(found_device, device_name) == 0, "%04x:%04x: %s", vendor, device,
                  found_device);
}

Test(pci_ids, finds) {
        expect("First", "First's two", 0x0001, 0x0002);
        expect("First", "First's three", 0x0001, 0x0003);
        expect("First", "After a gap", 0x0001, 0x00ab);
        expect("Second", "Second's two", 0x00a0, 0x0002);
        expect("", NULL, 0x00b0, 0x0002);
        expect("Last, and no end of line", NULL, 0xffff, 0x0002);
}

Test(pci_ids, finds_nothing_elsewhere) {
        expect("First", NULL, 0x0001, 0x0004); /* a subsystem */
        expect("First", NULL, 0x0001, 0x0009); /* of the second one of that number */
        expect("Second", NULL, 0x00a0, 0x0003);
        expect("Second", NULL, 0x00a0, 0x0006);
        expect("Second", NULL, 0x00a0, 0x0007);
        expect(NULL, NULL, 0x00c0, 0x0002);
        expect(NULL, NULL, 0x0000, 0x0000);
}

Test(pci_ids, any_text) {
        static const char *const texts[] = { "",     "\n",    "\t",       "0",
                                             "0001", "0001 ", "0001\n\t", "0001  a\n\t0002" };

        for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
                g_autoptr(PciIds) ids = pci_ids_new(g_strdup(texts[i]));
                g_autofree char *vendor = pci_ids_vendor(ids, 1);
                g_autofree char *device = pci_ids_device(ids, 1, 2);

                cr_assert(!device, "%s", texts[i]);
        }
}
