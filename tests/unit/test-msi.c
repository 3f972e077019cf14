/* Every cell of the rule: architecture, IOMMU, own MSIs, those of siblings,
 * allow_unsafe_interrupts. */
#include "policy/msi.h"

#include <criterion/criterion.h>
#include <string.h>

#define KEY     0x0000010000000000ULL /* its address does not matter */
#define SIBLING (KEY + 1)

/* One letter for each ground. */
static const struct {
        char letter;
        MsiGround ground;
        MsiIsolation isolation;
} letters[] = {
        { 'I', MSI_GROUND_OWN_ISOLATED, MSI_ISOLATED },
        { 'i', MSI_GROUND_SIBLING_ISOLATED, MSI_ISOLATED },
        { 'A', MSI_GROUND_ARCHITECTURE_ISOLATES, MSI_ISOLATED },
        { 'N', MSI_GROUND_OWN_NOT_REMAPPED, MSI_NOT_ISOLATED },
        { 'n', MSI_GROUND_SIBLING_NOT_REMAPPED, MSI_NOT_ISOLATED },
        { 'c', MSI_GROUND_IOMMU_CANNOT, MSI_NOT_ISOLATED },
        { 'X', MSI_GROUND_OWN_CONTRADICTORY, MSI_UNKNOWN },
        { 'x', MSI_GROUND_SIBLINGS_CONTRADICTORY, MSI_UNKNOWN },
        { 'E', MSI_GROUND_IOMMU_CONTRADICTORY, MSI_UNKNOWN },
        { 'a', MSI_GROUND_ONLY_ADVERTISED, MSI_UNKNOWN },
        { 'S', MSI_GROUND_OWN_SILENT, MSI_UNKNOWN },
        { 's', MSI_GROUND_SIBLING_SILENT, MSI_UNKNOWN },
        { '-', MSI_GROUND_NOTHING, MSI_UNKNOWN },
        { '?', MSI_GROUND_ARCHITECTURE_SILENT, MSI_UNKNOWN },
};

static const struct {
        const char *name;
        MsiIommu kind;
        bool has_ecap;
        uint64_t ecap;
} iommus[] = {
        { "none", MSI_IOMMU_NONE, false, 0 },
        { "intel", MSI_IOMMU_INTEL, true, 0xf00f4e },
        { "intel, cannot", MSI_IOMMU_INTEL, true, 0xfffffffffffffff7ULL },
        { "intel, unreadable", MSI_IOMMU_INTEL, false, 0xf00f4e },
        { "amd", MSI_IOMMU_AMD, false, 0 },
        { "other", MSI_IOMMU_OTHER, false, 0 },
};

/* For each IOMMU, own MSIs: none, isolated, others, both; and in each word siblings: the same. */
#define ALL(row) \
        { row, row, row, row, row, row }
static const char *const cells[_MSI_ARCHITECTURE_MAX][G_N_ELEMENTS(iommus)] = {
        [MSI_ARCHITECTURE_X86] = {
                "-isx IIII SSSS XXXX",
                "ainx IIII NNNN XXXX",
                "cEnx EEEE NNNN XXXX",
                "-inx IIII NNNN XXXX",
                "-inx IIII NNNN XXXX",
                "-isx IIII SSSS XXXX",
        },
        [MSI_ARCHITECTURE_ARM] = ALL("-isx IIII SSSS XXXX"),
        [MSI_ARCHITECTURE_S390] = ALL("AAAA AAAA AAAA AAAA"),
        [MSI_ARCHITECTURE_OTHER] = ALL("???? ???? ???? ????"),
};

static void set_chips(MsiChips *chips, unsigned which, PciKey key) {
        if (which & 1)
                chips->isolating =
                        (MsiInterrupt){ g_ref_string_new_intern("IR-PCI-MSIX"), key, 24 };
        if (which & 2)
                chips->other = (MsiInterrupt){ g_ref_string_new_intern("PCI-MSIX"), key, 25 };
}

static void make_evidence(MsiEvidence *evidence, MsiArchitecture architecture, unsigned iommu,
                          unsigned own, unsigned siblings) {
        *evidence = (MsiEvidence){
                .architecture = architecture,
                .machine = g_ref_string_new_intern("machine"),
                .iommu_kind = iommus[iommu].kind,
                .iommu = iommu == 0 ? NULL : g_ref_string_new_intern("iommu0"),
                .has_ecap = iommus[iommu].has_ecap,
                .ecap = iommus[iommu].ecap,
        };
        set_chips(&evidence->own, own, KEY);
        set_chips(&evidence->siblings, siblings, SIBLING);
}

static void check_cell(MsiArchitecture architecture, unsigned iommu, unsigned own,
                       unsigned siblings, char letter) {
        for (unsigned unsafe = 0; unsafe < 9; unsafe++) {
                g_auto(MsiEvidence) evidence = { 0 };
                g_auto(GStrv) sentences = NULL;
                MsiGround ground;
                unsigned i = 0;

                make_evidence(&evidence, architecture, iommu, own, siblings);
                evidence.unsafe[MSI_UNSAFE_VFIO_IOMMU_TYPE1] = unsafe % 3;
                evidence.unsafe[MSI_UNSAFE_IOMMUFD] = unsafe / 3;
                while (letters[i].letter != letter)
                        cr_assert_lt(++i, G_N_ELEMENTS(letters));
                ground = msi_ground(&evidence);
                cr_assert_eq(ground, letters[i].ground, "%d %s %u %u: %s", architecture,
                             iommus[iommu].name, own, siblings, msi_ground_to_reason(ground));
                cr_assert_eq(msi_ground_isolation(ground), letters[i].isolation);
                sentences = msi_evidence_sentences(KEY, &evidence);
                cr_assert_not_null(sentences[0], "a verdict without evidence");
                for (unsigned n = 0; sentences[n]; n++)
                        cr_assert(g_str_has_suffix(sentences[n], ")."), "no file: %s",
                                  sentences[n]);
        }
}

Test(msi, every_cell) {
        for (MsiArchitecture a = 0; a < _MSI_ARCHITECTURE_MAX; a++)
                for (unsigned iommu = 0; iommu < G_N_ELEMENTS(iommus); iommu++)
                        for (unsigned own = 0; own < 4; own++)
                                for (unsigned siblings = 0; siblings < 4; siblings++)
                                        check_cell(a, iommu, own, siblings,
                                                   cells[a][iommu][5 * own + siblings]);
}

/* Each ground has a letter, so it is in a cell; and a sentence of its own. */
Test(msi, grounds) {
        cr_assert_eq(G_N_ELEMENTS(letters), _MSI_GROUND_MAX);
        for (unsigned i = 0; i < _MSI_GROUND_MAX; i++) {
                const char *reason = msi_ground_to_reason(letters[i].ground);
                bool contradictory = strchr("XxE", letters[i].letter);

                cr_assert(g_str_has_suffix(reason, "."), "%s", reason);
                cr_assert_eq(strstr(reason, "contradictory") != NULL, contradictory, "%s", reason);
                for (unsigned j = 0; j < i; j++)
                        cr_assert_str_neq(reason, msi_ground_to_reason(letters[j].ground));
        }
}

Test(msi, words) {
        cr_assert_str_eq(msi_isolation_to_string(MSI_ISOLATED), "isolated");
        cr_assert_str_eq(msi_isolation_to_string(MSI_NOT_ISOLATED), "not-isolated");
        cr_assert_str_eq(msi_isolation_to_string(MSI_UNKNOWN), "unknown");
        cr_assert(msi_table_mappable(MSI_ISOLATED));
        cr_assert_not(msi_table_mappable(MSI_NOT_ISOLATED));
        cr_assert_not(msi_table_mappable(MSI_UNKNOWN));
}

Test(msi, architectures) {
        static const struct {
                const char *machine;
                MsiArchitecture architecture;
        } machines[] = {
                { "x86_64", MSI_ARCHITECTURE_X86 },     { "i386", MSI_ARCHITECTURE_X86 },
                { "i686", MSI_ARCHITECTURE_X86 },       { "aarch64", MSI_ARCHITECTURE_ARM },
                { "aarch64_be", MSI_ARCHITECTURE_ARM }, { "armv7l", MSI_ARCHITECTURE_ARM },
                { "s390x", MSI_ARCHITECTURE_S390 },     { "s390", MSI_ARCHITECTURE_S390 },
                { "ppc64le", MSI_ARCHITECTURE_OTHER },  { "ppc64", MSI_ARCHITECTURE_OTHER },
                { "riscv64", MSI_ARCHITECTURE_OTHER },  { "loongarch64", MSI_ARCHITECTURE_OTHER },
                { "ia64", MSI_ARCHITECTURE_OTHER },     { "i86", MSI_ARCHITECTURE_OTHER },
                { "", MSI_ARCHITECTURE_OTHER },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(machines); i++)
                cr_assert_eq(msi_architecture_from_machine(machines[i].machine),
                             machines[i].architecture, "%s", machines[i].machine);
}

Test(msi, chips) {
        static const struct {
                const char *name;
                bool x86, arm;
        } chips[] = {
                { "IR-PCI-MSIX-0000:00:10.0", true, false }, /* 6.2 and later */
                { "IR-PCI-MSI", true, false },               /* before */
                { "PCI-MSIX-0000:00:10.0", false, false },
                { "VMD-MSI", false, false },
                { "HPET-IR-MSI", false, false },
                { "ir-pci-msi", false, false },
                { "IR", false, false },
                { "", false, false },
                { "ITS-PCI-MSIX-0001:01:00.0", false, true }, /* 6.11 and later */
                { "ITS-MSI", false, true },                   /* before */
                { "GICv2m-PCI-MSI-0001:01:00.0", false, false },
                { "MSI", false, false },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(chips); i++) {
                const char *name = chips[i].name;

                cr_assert_eq(msi_chip_isolates(MSI_ARCHITECTURE_X86, name), chips[i].x86, "%s",
                             name);
                cr_assert_eq(msi_chip_isolates(MSI_ARCHITECTURE_ARM, name), chips[i].arm, "%s",
                             name);
                cr_assert_not(msi_chip_isolates(MSI_ARCHITECTURE_S390, name), "%s", name);
                cr_assert_not(msi_chip_isolates(MSI_ARCHITECTURE_OTHER, name), "%s", name);
        }
}

static void check_sentences(const MsiEvidence *evidence, const char *const *expected) {
        PciKey key = pci_address_key((PciAddress){ 0, 1, 0, 0 });
        g_auto(GStrv) sentences = msi_evidence_sentences(key, evidence);

        for (unsigned i = 0; expected[i]; i++) {
                cr_assert_not_null(sentences[i], "%s is missing", expected[i]);
                cr_assert_str_eq(sentences[i], expected[i]);
        }
        cr_assert_eq(g_strv_length(sentences), g_strv_length((char **) expected));
}

Test(msi, sentences) {
        PciKey key = pci_address_key((PciAddress){ 0, 1, 0, 0 });
        g_auto(MsiEvidence) evidence = {
                .architecture = MSI_ARCHITECTURE_X86,
                .iommu_kind = MSI_IOMMU_INTEL,
                .iommu = g_ref_string_new_intern("dmar0"),
                .has_ecap = true,
                .ecap = 0xf00f4e,
                .siblings.isolating = { g_ref_string_new_intern("IR-PCI-MSIX-0000:00:02.0"),
                                        pci_address_key((PciAddress){ 0, 0, 2, 0 }), 27 },
                .unsafe[MSI_UNSAFE_VFIO_IOMMU_TYPE1] = MSI_UNSAFE_YES,
                .unsafe[MSI_UNSAFE_IOMMUFD] = MSI_UNSAFE_NO,
        };

        check_sentences(
                &evidence,
                (const char *const[]){
                        "No MSI of this function is allocated (/sys/bus/pci/devices/0000:01:00.0/msi_irqs).",
                        "Interrupt 27 of 0000:00:02.0, which is behind the same IOMMU dmar0, has the controller "
                        "IR-PCI-MSIX-0000:00:02.0: it is remapped (/sys/kernel/irq/27/chip_name).",
                        "The IOMMU dmar0 is able to remap interrupts: bit 3 of its extended capabilities, "
                        "f00f4e, is set (/sys/class/iommu/dmar0/intel-iommu/ecap).",
                        "VFIO does not insist on isolation, which isolates nothing: allow_unsafe_interrupts is "
                        "set (/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts).",
                        "VFIO insists on isolation: allow_unsafe_interrupts is not set "
                        "(/sys/module/iommufd/parameters/allow_unsafe_interrupts).",
                        NULL });

        memset(evidence.unsafe, 0, sizeof(evidence.unsafe));
        evidence.own.other =
                (MsiInterrupt){ g_ref_string_new_intern("PCI-MSIX-0000:01:00.0"), key, 30 };
        evidence.ecap &= ~8ULL;
        check_sentences(
                &evidence,
                (const char *const[]){
                        "Interrupt 30 of this function has the controller PCI-MSIX-0000:01:00.0: it is not "
                        "remapped (/sys/kernel/irq/30/chip_name).",
                        "The IOMMU dmar0 cannot remap interrupts: bit 3 of its extended capabilities, f00f46, "
                        "is clear (/sys/class/iommu/dmar0/intel-iommu/ecap).",
                        NULL });

        evidence.architecture = MSI_ARCHITECTURE_S390;
        check_sentences(
                &evidence,
                (const char *const[]){
                        "This is a function of s390, where all MSIs are isolated, though less "
                        "strictly than elsewhere (/sys/bus/pci/devices/0000:01:00.0/vfn).",
                        NULL });
}

/* Each member counts. */
Test(msi, equal) {
        for (unsigned member = 0; member < 12; member++) {
                g_auto(MsiEvidence) a = { 0 }, b = { 0 };

                make_evidence(&a, MSI_ARCHITECTURE_X86, 1, 3, 3);
                make_evidence(&b, MSI_ARCHITECTURE_X86, 1, 3, 3);
                cr_assert(msi_evidence_equal(&a, &b));
                switch (member) {
                case 0:
                        b.architecture = MSI_ARCHITECTURE_ARM;
                        break;
                case 1:
                        b.iommu_kind = MSI_IOMMU_AMD;
                        break;
                case 2:
                        b.ecap ^= 8;
                        break;
                case 3:
                        b.has_ecap = false;
                        break;
                case 4:
                        b.own.isolating.irq++;
                        break;
                case 5:
                        b.own.other.function++;
                        break;
                case 6:
                        b.siblings.isolating.irq++;
                        break;
                case 7:
                        b.siblings.other.irq++;
                        break;
                case 8:
                        msi_chips_clear(&b.siblings);
                        break;
                case 9:
                        b.unsafe[MSI_UNSAFE_IOMMUFD] = MSI_UNSAFE_NO;
                        break;
                case 10:
                        g_clear_pointer(&b.iommu, g_ref_string_release);
                        break;
                default:
                        g_clear_pointer(&b.machine, g_ref_string_release);
                }
                cr_assert_not(msi_evidence_equal(&a, &b), "member %u", member);
        }
}
