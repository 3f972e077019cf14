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
