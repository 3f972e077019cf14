#include "policy/msi.h"

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

/* Intel VT-d 4.1, 11.4.3: interrupt remapping support. */
#define ECAP_INTERRUPT_REMAPPING (UINT64_C(1) << 3)

#define DEVICES                  "/sys/bus/pci/devices/"

static const char *const isolation_names[_MSI_ISOLATION_MAX] = {
        [MSI_ISOLATED] = "isolated",
        [MSI_NOT_ISOLATED] = "not-isolated",
        [MSI_UNKNOWN] = "unknown",
};

static const char *const unsafe_paths[_MSI_UNSAFE_MAX] = {
        [MSI_UNSAFE_VFIO_IOMMU_TYPE1] =
                "/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts",
        [MSI_UNSAFE_IOMMUFD] = "/sys/module/iommufd/parameters/allow_unsafe_interrupts",
};

#define NONE_OF_ITS_OWN "No MSI of it is allocated now, and "

static const struct {
        MsiIsolation isolation;
        const char *reason;
} grounds[_MSI_GROUND_MAX] = {
        [MSI_GROUND_OWN_ISOLATED] = { MSI_ISOLATED, "Its own MSIs are isolated." },
        [MSI_GROUND_SIBLING_ISOLATED] = { MSI_ISOLATED, NONE_OF_ITS_OWN
                                          "those of another function behind the same IOMMU are "
                                          "isolated." },
        [MSI_GROUND_ARCHITECTURE_ISOLATES] = { MSI_ISOLATED,
                                               "This architecture isolates all MSIs." },
        [MSI_GROUND_OWN_NOT_REMAPPED] = { MSI_NOT_ISOLATED, "Its own MSIs are not remapped." },
        [MSI_GROUND_SIBLING_NOT_REMAPPED] = { MSI_NOT_ISOLATED, NONE_OF_ITS_OWN
                                              "those of another function behind the same IOMMU are "
                                              "not remapped." },
        [MSI_GROUND_IOMMU_CANNOT] = { MSI_NOT_ISOLATED, "Its IOMMU cannot remap interrupts." },
        [MSI_GROUND_OWN_CONTRADICTORY] = { MSI_UNKNOWN,
                                           "The evidence is contradictory: some of its own MSIs are "
                                           "isolated, and others do not seem to be." },
        [MSI_GROUND_SIBLINGS_CONTRADICTORY] = { MSI_UNKNOWN,
                                                "The evidence is contradictory: of the functions "
                                                "behind the same IOMMU, some have isolated MSIs, and "
                                                "others do not seem to." },
        [MSI_GROUND_IOMMU_CONTRADICTORY] = { MSI_UNKNOWN,
                                             "The evidence is contradictory: MSIs are called "
                                             "remapped, and the IOMMU says that it cannot remap." },
        [MSI_GROUND_ONLY_ADVERTISED] = { MSI_UNKNOWN,
                                         "Its IOMMU could remap interrupts, and nothing "
                                         "shows whether it does." },
        [MSI_GROUND_OWN_SILENT] = { MSI_UNKNOWN, "The controller of its MSIs does not tell whether "
                                                 "they are isolated." },
        [MSI_GROUND_SIBLING_SILENT] = { MSI_UNKNOWN, NONE_OF_ITS_OWN
                                        "the controller of another function's behind the same IOMMU "
                                        "does not tell whether they are isolated." },
        [MSI_GROUND_NOTHING] = { MSI_UNKNOWN, "Nothing shows whether its MSIs are isolated." },
        [MSI_GROUND_ARCHITECTURE_SILENT] = { MSI_UNKNOWN,
                                             "On this architecture nothing shows whether "
                                             "MSIs are isolated." },
};

MsiArchitecture msi_architecture_from_machine(const char *machine) {
        if (strcmp(machine, "x86_64") == 0 ||
            (strlen(machine) == 4 && machine[0] == 'i' && strcmp(machine + 2, "86") == 0))
                return MSI_ARCHITECTURE_X86;
        if (g_str_has_prefix(machine, "aarch64") || g_str_has_prefix(machine, "arm"))
                return MSI_ARCHITECTURE_ARM;
        if (strcmp(machine, "s390x") == 0 || strcmp(machine, "s390") == 0)
                return MSI_ARCHITECTURE_S390;
        return MSI_ARCHITECTURE_OTHER;
}

bool msi_chip_isolates(MsiArchitecture architecture, const char *chip) {
        return (architecture == MSI_ARCHITECTURE_X86 && g_str_has_prefix(chip, "IR-")) ||
               (architecture == MSI_ARCHITECTURE_ARM && g_str_has_prefix(chip, "ITS-"));
}

static bool interrupt_equal(const MsiInterrupt *a, const MsiInterrupt *b) {
        return a->chip == b->chip && (!a->chip || (a->function == b->function && a->irq == b->irq));
}

bool msi_chips_empty(const MsiChips *chips) {
        return !chips->isolating.chip && !chips->other.chip;
}

bool msi_chips_equal(const MsiChips *a, const MsiChips *b) {
        return interrupt_equal(&a->isolating, &b->isolating) &&
               interrupt_equal(&a->other, &b->other);
}

void msi_chips_copy(MsiChips *ret, const MsiChips *chips) {
        *ret = *chips;
        if (ret->isolating.chip)
                g_ref_string_acquire(ret->isolating.chip);
        if (ret->other.chip)
                g_ref_string_acquire(ret->other.chip);
}

void msi_chips_clear(MsiChips *chips) {
        g_clear_pointer(&chips->isolating.chip, g_ref_string_release);
        g_clear_pointer(&chips->other.chip, g_ref_string_release);
}

bool msi_evidence_equal(const MsiEvidence *a, const MsiEvidence *b) {
        return a->architecture == b->architecture && a->iommu_kind == b->iommu_kind &&
               a->machine == b->machine && a->iommu == b->iommu && a->has_ecap == b->has_ecap &&
               (!a->has_ecap || a->ecap == b->ecap) && msi_chips_equal(&a->own, &b->own) &&
               msi_chips_equal(&a->siblings, &b->siblings) &&
               memcmp(a->unsafe, b->unsafe, sizeof(a->unsafe)) == 0;
}

void msi_evidence_clear(MsiEvidence *evidence) {
        g_clear_pointer(&evidence->machine, g_ref_string_release);
        g_clear_pointer(&evidence->iommu, g_ref_string_release);
        msi_chips_clear(&evidence->own);
        msi_chips_clear(&evidence->siblings);
}

static bool ecap_denies(const MsiEvidence *evidence) {
        return evidence->has_ecap && !(evidence->ecap & ECAP_INTERRUPT_REMAPPING);
}

/* Whether a name without "IR-" says something: it is the mark of these two IOMMUs' drivers. A
 * remapping domain behind another may have any name. */
static bool names_deny(const MsiEvidence *evidence) {
        return evidence->architecture == MSI_ARCHITECTURE_X86 &&
               (evidence->iommu_kind == MSI_IOMMU_INTEL || evidence->iommu_kind == MSI_IOMMU_AMD);
}

static MsiGround ground_by_iommu(const MsiEvidence *evidence) {
        if (evidence->architecture != MSI_ARCHITECTURE_X86 || !evidence->has_ecap)
                return MSI_GROUND_NOTHING;
        return ecap_denies(evidence) ? MSI_GROUND_IOMMU_CANNOT : MSI_GROUND_ONLY_ADVERTISED;
}

MsiGround msi_ground(const MsiEvidence *evidence) {
        const MsiChips *own = &evidence->own, *siblings = &evidence->siblings;
        bool x86 = evidence->architecture == MSI_ARCHITECTURE_X86;

        if (evidence->architecture == MSI_ARCHITECTURE_S390)
                return MSI_GROUND_ARCHITECTURE_ISOLATES;
        if (!x86 && evidence->architecture != MSI_ARCHITECTURE_ARM)
                return MSI_GROUND_ARCHITECTURE_SILENT;

        if (own->isolating.chip && own->other.chip)
                return MSI_GROUND_OWN_CONTRADICTORY;
        if (own->other.chip)
                return names_deny(evidence) ? MSI_GROUND_OWN_NOT_REMAPPED : MSI_GROUND_OWN_SILENT;
        if (own->isolating.chip)
                return x86 && ecap_denies(evidence) ? MSI_GROUND_IOMMU_CONTRADICTORY
                                                    : MSI_GROUND_OWN_ISOLATED;

        if (siblings->isolating.chip && siblings->other.chip)
                return MSI_GROUND_SIBLINGS_CONTRADICTORY;
        if (siblings->other.chip)
                return names_deny(evidence) ? MSI_GROUND_SIBLING_NOT_REMAPPED
                                            : MSI_GROUND_SIBLING_SILENT;
        if (siblings->isolating.chip)
                return x86 && ecap_denies(evidence) ? MSI_GROUND_IOMMU_CONTRADICTORY
                                                    : MSI_GROUND_SIBLING_ISOLATED;
        return ground_by_iommu(evidence);
}

MsiIsolation msi_ground_isolation(MsiGround ground) {
        return grounds[ground].isolation;
}

const char *msi_isolation_to_string(MsiIsolation isolation) {
        return isolation_names[isolation];
}

const char *msi_ground_to_reason(MsiGround ground) {
        return grounds[ground].reason;
}

bool msi_table_mappable(MsiIsolation isolation) {
        return isolation == MSI_ISOLATED;
}

const char *msi_unsafe_path(MsiUnsafeModule module) {
        return unsafe_paths[module];
}

static void __attribute__((format(printf, 2, 3)))
say(GPtrArray *sentences, const char *format, ...) {
        va_list arguments;

        va_start(arguments, format);
        g_ptr_array_add(sentences, g_strdup_vprintf(format, arguments));
        va_end(arguments);
}

static void say_interrupt(GPtrArray *sentences, PciKey key, const MsiInterrupt *interrupt,
                          const MsiEvidence *evidence, const char *says) {
        char address[PCI_ADDRESS_STRING_MAX];
        g_autofree char *whose = NULL;

        if (!interrupt->chip)
                return;
        if (interrupt->function == key)
                whose = g_strdup("of this function");
        else
                whose = g_strdup_printf(
                        "of %s, which is behind the same IOMMU %s,",
                        pci_address_format(pci_address_from_key(interrupt->function), address),
                        evidence->iommu ? evidence->iommu : "");
        say(sentences,
            "Interrupt %" PRIu32 " %s has the controller %s%s (/sys/kernel/irq/%" PRIu32
            "/chip_name).",
            interrupt->irq, whose, interrupt->chip, says, interrupt->irq);
}

static void say_chips(GPtrArray *sentences, PciKey key, const MsiChips *chips,
                      const MsiEvidence *evidence) {
        bool x86 = evidence->architecture == MSI_ARCHITECTURE_X86;

        say_interrupt(sentences, key, &chips->isolating, evidence,
                      x86 ? ": it is remapped" : ": who writes is checked");
        say_interrupt(sentences, key, &chips->other, evidence,
                      names_deny(evidence) ? ": it is not remapped"
                                           : ", which says nothing of isolation");
}

static void say_iommu(GPtrArray *sentences, const char *address, const MsiEvidence *evidence) {
        if (!evidence->iommu)
                say(sentences, "No IOMMU serves this function (" DEVICES "%s/iommu).", address);
        else if (msi_chips_empty(&evidence->own) && msi_chips_empty(&evidence->siblings))
                say(sentences,
                    "No MSI is allocated of any function behind the same IOMMU %s "
                    "(/sys/class/iommu/%s/devices).",
                    evidence->iommu, evidence->iommu);
        if (evidence->has_ecap)
                say(sentences,
                    "The IOMMU %s %s remap interrupts: bit 3 of its extended capabilities, %" PRIx64
                    ", is %s (/sys/class/iommu/%s/intel-iommu/ecap).",
                    evidence->iommu, ecap_denies(evidence) ? "cannot" : "is able to",
                    evidence->ecap, ecap_denies(evidence) ? "clear" : "set", evidence->iommu);
}

static void say_unsafe(GPtrArray *sentences, const MsiEvidence *evidence) {
        for (MsiUnsafeModule i = 0; i < _MSI_UNSAFE_MAX; i++)
                if (evidence->unsafe[i] == MSI_UNSAFE_YES)
                        say(sentences,
                            "VFIO does not insist on isolation, which isolates nothing: "
                            "allow_unsafe_interrupts is set (%s).",
                            unsafe_paths[i]);
                else if (evidence->unsafe[i] == MSI_UNSAFE_NO)
                        say(sentences,
                            "VFIO insists on isolation: allow_unsafe_interrupts is not set (%s).",
                            unsafe_paths[i]);
}

char **msi_evidence_sentences(PciKey key, const MsiEvidence *evidence) {
        GPtrArray *sentences = g_ptr_array_new();
        char address[PCI_ADDRESS_STRING_MAX];

        pci_address_format(pci_address_from_key(key), address);
        switch (evidence->architecture) {
        case MSI_ARCHITECTURE_S390:
                say(sentences,
                    "This is a function of s390, where all MSIs are isolated, though less strictly "
                    "than elsewhere (" DEVICES "%s/vfn).",
                    address);
                break;
        case MSI_ARCHITECTURE_X86:
        case MSI_ARCHITECTURE_ARM:
                if (msi_chips_empty(&evidence->own)) {
                        say(sentences,
                            "No MSI of this function is allocated (" DEVICES "%s/msi_irqs).",
                            address);
                        say_chips(sentences, key, &evidence->siblings, evidence);
                } else
                        say_chips(sentences, key, &evidence->own, evidence);
                say_iommu(sentences, address, evidence);
                break;
        default:
                say(sentences, "Nothing shows on %s whether MSIs are isolated (uname -m).",
                    evidence->machine ? evidence->machine : "this architecture");
        }
        say_unsafe(sentences, evidence);
        g_ptr_array_add(sentences, NULL);
        return (char **) g_ptr_array_free(sentences, FALSE);
}
