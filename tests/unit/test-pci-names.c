#include "daemon/sysfs/pci-names.h"

#include <criterion/criterion.h>
#include <pci/pci.h>

/* One in so many: all of them take libpci seconds. */
#define STEP 7

static struct pci_access *libpci;

static const char *ask_libpci(int what, int vendor, int device, char buffer[static 256]) {
        const char *name =
                pci_lookup_name(libpci, buffer, 256, what | PCI_LOOKUP_NO_NUMBERS, vendor, device);

        return name ? name : "";
}

static unsigned compare(PciNames *names, uint16_t vendor, uint16_t device) {
        GRefString *vendor_name, *device_name;
        char buffer[256];
        unsigned n;

        pci_names_lookup(names, vendor, device, &vendor_name, &device_name);
        cr_assert_str_eq(vendor_name, ask_libpci(PCI_LOOKUP_VENDOR, vendor, device, buffer));
        cr_assert_str_eq(device_name, ask_libpci(PCI_LOOKUP_DEVICE, vendor, device, buffer));
        n = device_name[0] != '\0';
        g_ref_string_release(vendor_name);
        g_ref_string_release(device_name);
        return n;
}

Test(pci_names, are_libpcis) {
        static const uint16_t vendors[] = { 0x0010, 0x1002, 0x1014, 0x10de,
                                            0x1af4, 0x1b36, 0x8086, 0xdead };
        g_autoptr(PciNames) names = pci_names_new();
        unsigned n_named = 0;

        libpci = pci_alloc();
        libpci->id_lookup_mode = PCI_LOOKUP_NO_HWDB;
        pci_init(libpci);
        for (size_t i = 0; i < G_N_ELEMENTS(vendors); i++)
                for (unsigned device = 0; device < 0x10000; device += STEP)
                        n_named += compare(names, vendors[i], (uint16_t) device);
        for (unsigned vendor = 0; vendor < 0xffff; vendor++)
                n_named += compare(names, (uint16_t) vendor, 1);
        cr_assert(n_named > 500, "%u", n_named);
        pci_cleanup(libpci);
}

Test(pci_names, are_the_same_without_the_file_in_memory) {
        g_autoptr(PciNames) names = pci_names_new();

        libpci = pci_alloc();
        libpci->id_lookup_mode = PCI_LOOKUP_NO_HWDB;
        pci_init(libpci);
        pci_names_drop_file(names);
        cr_assert_eq(compare(names, 0x8086, 0x1521), 1);
        pci_names_drop_file(names);
        cr_assert_eq(compare(names, 0x8086, 0x1521), 1, "known already");
        cr_assert_eq(compare(names, 0x1af4, 0x1000), 1, "not known yet");
        pci_cleanup(libpci);
}
