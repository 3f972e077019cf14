#include "policy/vfio-driver.h"

#include <criterion/criterion.h>

Test(vfio_driver, names) {
        static const struct {
                const char *driver;
                bool vfio, ism;
        } cases[] = {
                { "vfio-pci", true, false },       { "vfio_pci", true, false },
                { "mlx5_vfio_pci", true, false },  { "nvgrace-gpu-vfio-pci", true, false },
                { "ism-vfio-pci", true, true },    { "ism_vfio_pci", true, true },
                { "ism_vfio-pci", true, true },    { "prism-vfio-pci", true, false },
                { "ism-vfio-pci2", false, false }, { "vfio-pci-core", false, false },
                { "vfio", false, false },          { "fio-pci", false, false },
                { "pci-stub", false, false },      { "uio_pci_generic", false, false },
                { "igb", false, false },           { "", false, false },
        };

        for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                cr_assert_eq(vfio_driver_is_named(cases[i].driver), cases[i].vfio, "%s",
                             cases[i].driver);
                cr_assert_eq(vfio_driver_is_ism(cases[i].driver), cases[i].ism, "%s",
                             cases[i].driver);
        }
}

/* Who leaves DMA to others does not stand in the way of a VMM in its IOMMU group. */
Test(vfio_driver, shares_group) {
        static const struct {
                const char *driver;
                bool expected;
        } cases[] = {
                { "vfio-pci", true },  { "mlx5_vfio_pci", true },    { "pci-stub", true },
                { "pcieport", true },  { "shpchp", false },          { "igb", false },
                { "pci_stub", false }, { "uio_pci_generic", false }, { "pcieport2", false },
                { "", false },
        };

        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
                cr_expect_eq(vfio_driver_shares_group(cases[i].driver), cases[i].expected, "%s",
                             cases[i].driver);
}
