#include "policy/device-dma.h"

#include <criterion/criterion.h>

/* What the host shows, and whether a client may have the function do DMA then. */
static const struct {
        const char *what, *chip; /* of an MSI of its own; NULL: it has none */
        MsiArchitecture architecture;
        MsiIommu iommu;
        uint64_t ecap;
        MsiUnsafe type1, iommufd;
        bool allowed;
} cases[] = {
        { "remapped", "IR-PCI-MSIX-0000:01:00.0", MSI_ARCHITECTURE_X86, MSI_IOMMU_INTEL, 0xf00f4e,
          MSI_UNSAFE_NO, MSI_UNSAFE_NO, true },
        { "remapped, the gate is open", "IR-PCI-MSIX-0000:01:00.0", MSI_ARCHITECTURE_X86,
          MSI_IOMMU_INTEL, 0xf00f4e, MSI_UNSAFE_YES, MSI_UNSAFE_YES, true },
        { "not remapped", "PCI-MSIX-0000:01:00.0", MSI_ARCHITECTURE_X86, MSI_IOMMU_INTEL, 0xf00f4e,
          MSI_UNSAFE_NO, MSI_UNSAFE_NO, false },
        { "not remapped, the gate is open", "PCI-MSIX-0000:01:00.0", MSI_ARCHITECTURE_X86,
          MSI_IOMMU_AMD, 0, MSI_UNSAFE_YES, MSI_UNSAFE_NO, false },
        { "cannot", NULL, MSI_ARCHITECTURE_X86, MSI_IOMMU_INTEL, 0xf00f46, MSI_UNSAFE_NO,
          MSI_UNSAFE_NO, false },
        { "advertised", NULL, MSI_ARCHITECTURE_X86, MSI_IOMMU_INTEL, 0xf00f4e, MSI_UNSAFE_NO,
          MSI_UNSAFE_UNKNOWN, true },
        { "advertised, the gate is open", NULL, MSI_ARCHITECTURE_X86, MSI_IOMMU_INTEL, 0xf00f4e,
          MSI_UNSAFE_YES, MSI_UNSAFE_UNKNOWN, false },
        { "advertised, the other gate is open", NULL, MSI_ARCHITECTURE_X86, MSI_IOMMU_INTEL,
          0xf00f4e, MSI_UNSAFE_NO, MSI_UNSAFE_YES, false },
        { "silent", NULL, MSI_ARCHITECTURE_ARM, MSI_IOMMU_OTHER, 0, MSI_UNSAFE_NO, MSI_UNSAFE_NO,
          true },
        { "silent, the gate is open", NULL, MSI_ARCHITECTURE_ARM, MSI_IOMMU_OTHER, 0,
          MSI_UNSAFE_YES, MSI_UNSAFE_NO, false },
        { "s390", NULL, MSI_ARCHITECTURE_S390, MSI_IOMMU_OTHER, 0, MSI_UNSAFE_YES, MSI_UNSAFE_NO,
          true },
};

Test(device_dma, isolation) {
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                MsiEvidence evidence = {
                        .architecture = cases[i].architecture,
                        .iommu_kind = cases[i].iommu,
                        .ecap = cases[i].ecap,
                        .has_ecap = cases[i].ecap != 0,
                        .unsafe = { cases[i].type1, cases[i].iommufd },
                };
                const MsiChips one = { .isolating = { .irq = 1 } };
                const char *refusal;

                if (cases[i].chip) {
                        MsiInterrupt *interrupt =
                                msi_chip_isolates(cases[i].architecture, cases[i].chip)
                                        ? &evidence.own.isolating
                                        : &evidence.own.other;

                        *interrupt = one.isolating;
                        interrupt->chip = g_ref_string_new_intern(cases[i].chip);
                }
                refusal = device_dma_refusal(&evidence);
                cr_expect_eq(refusal == NULL, cases[i].allowed, "%s: %s", cases[i].what,
                             refusal ? refusal : "allowed");
                msi_evidence_clear(&evidence);
        }
}

/* VFIO asks the kernel when the function is opened, unless the parameter keeps it from that. */
Test(device_dma, nothing_known) {
        MsiEvidence evidence = { .architecture = MSI_ARCHITECTURE_OTHER };

        cr_assert_null(device_dma_refusal(&evidence));
        evidence.unsafe[MSI_UNSAFE_VFIO_IOMMU_TYPE1] = MSI_UNSAFE_YES;
        cr_assert_not_null(device_dma_refusal(&evidence));
}
