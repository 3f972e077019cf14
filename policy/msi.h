/* msi.h: whether the MSIs of a function are isolated: whether what it writes can raise its own
 * interrupts only.
 *
 * VFIO lets a user map the MSI-X table whatever the isolation is
 * (VFIO_REGION_INFO_CAP_MSIX_MAPPABLE says so of every device), so a VMM that would map it must
 * know. The kernel knows (msi_device_has_isolated_msi() in kernel/irq/msi.c) and does not export
 * it; this is the evidence from outside. What is in effect counts more than what is advertised:
 *  - x86: the name of an interrupt's controller begins with "IR-" if it is remapped: prefix of the
 *    domains of Intel's and AMD's IOMMU drivers. MSIs exist only while a driver has allocated them;
 *    when the function has none, another function behind the same IOMMU shows it. If Intel's IOMMU
 *    can remap (bit 3 of its extended capabilities), that does not mean that it does; if it cannot,
 *    it does not.
 *  - ARM: "ITS-": the GIC's translation service checks the writer. (The kernel knows one exception
 *    that cannot be seen here, Socionext's pre-ITS: its_enable_quirk_socionext_synquacer().)
 *  - s390: all MSIs are isolated, though less than elsewhere: arch_is_isolated_msi().
 *  - others: nothing is known.
 * Unknown or contradictory evidence counts as no. VFIO's parameter allow_unsafe_interrupts isolates
 * nothing: it is reported, and does not count.
 *
 * Owns no files: daemon/sysfs/msi-source.h gathers the evidence. Strings are interned GRefStrings,
 * or NULL. */
#pragma once

#include "policy/address.h"

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef enum MsiArchitecture {
        MSI_ARCHITECTURE_X86,
        MSI_ARCHITECTURE_ARM,
        MSI_ARCHITECTURE_S390,
        MSI_ARCHITECTURE_OTHER,
        _MSI_ARCHITECTURE_MAX,
} MsiArchitecture;

typedef enum MsiIommu {
        MSI_IOMMU_NONE,
        MSI_IOMMU_INTEL,
        MSI_IOMMU_AMD,
        MSI_IOMMU_OTHER, /* virtio's, ARM's, ... */
        _MSI_IOMMU_MAX,
} MsiIommu;

typedef struct MsiInterrupt {
        GRefString *chip; /* the name of its controller; NULL: there is no such interrupt */
        PciKey function;  /* whose it is */
        uint32_t irq;
} MsiInterrupt;

/* Of some MSIs: one whose controller's name says that it is isolated, and one whose does not. */
typedef struct MsiChips {
        MsiInterrupt isolating, other;
} MsiChips;

/* Whose allow_unsafe_interrupts. */
typedef enum MsiUnsafeModule {
        MSI_UNSAFE_VFIO_IOMMU_TYPE1,
        MSI_UNSAFE_IOMMUFD,
        _MSI_UNSAFE_MAX,
} MsiUnsafeModule;

typedef enum MsiUnsafe {
        MSI_UNSAFE_UNKNOWN, /* the module is not loaded */
        MSI_UNSAFE_NO,
        MSI_UNSAFE_YES,
} MsiUnsafe;

typedef struct MsiEvidence {
        MsiArchitecture architecture;
        MsiIommu iommu_kind;
        GRefString *machine; /* as uname says */
        GRefString *iommu;   /* its name, e.g. "dmar0"; NULL: none serves the function */
        uint64_t ecap;       /* Intel's extended capability register ... */
        bool has_ecap;       /* ... if it could be read */
        MsiChips own;
        MsiChips siblings; /* of other functions behind the IOMMU; looked for when there is nothing
                              in `own` */
        MsiUnsafe unsafe[_MSI_UNSAFE_MAX];
} MsiEvidence;

typedef enum MsiIsolation {
        MSI_ISOLATED,
        MSI_NOT_ISOLATED,
        MSI_UNKNOWN,
        _MSI_ISOLATION_MAX,
} MsiIsolation;

/* What decided. */
typedef enum MsiGround {
        MSI_GROUND_OWN_ISOLATED,
        MSI_GROUND_SIBLING_ISOLATED,
        MSI_GROUND_ARCHITECTURE_ISOLATES,
        MSI_GROUND_OWN_NOT_REMAPPED,
        MSI_GROUND_SIBLING_NOT_REMAPPED,
        MSI_GROUND_IOMMU_CANNOT,
        MSI_GROUND_OWN_CONTRADICTORY,
        MSI_GROUND_SIBLINGS_CONTRADICTORY,
        MSI_GROUND_IOMMU_CONTRADICTORY,
        MSI_GROUND_ONLY_ADVERTISED,
        MSI_GROUND_OWN_SILENT,
        MSI_GROUND_SIBLING_SILENT,
        MSI_GROUND_NOTHING,
        MSI_GROUND_ARCHITECTURE_SILENT,
        _MSI_GROUND_MAX,
} MsiGround;

/* `machine` as uname says it: "x86_64", "aarch64", ... */
MsiArchitecture msi_architecture_from_machine(const char *machine);

/* Whether an MSI whose controller has this name is isolated, as far as the name says. */
bool msi_chip_isolates(MsiArchitecture architecture, const char *chip);

bool msi_chips_empty(const MsiChips *chips);
bool msi_chips_equal(const MsiChips *a, const MsiChips *b);
void msi_chips_copy(MsiChips *ret, const MsiChips *chips);
void msi_chips_clear(MsiChips *chips);

bool msi_evidence_equal(const MsiEvidence *a, const MsiEvidence *b);
void msi_evidence_clear(MsiEvidence *evidence);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(MsiEvidence, msi_evidence_clear)

/* The rule. */
MsiGround msi_ground(const MsiEvidence *evidence);
MsiIsolation msi_ground_isolation(MsiGround ground);

const char *msi_isolation_to_string(MsiIsolation isolation);

/* The ground as a sentence. */
const char *msi_ground_to_reason(MsiGround ground);

/* Whether a VMM may map the MSI-X table into its guest. */
bool msi_table_mappable(MsiIsolation isolation);

/* The file of the parameter. */
const char *msi_unsafe_path(MsiUnsafeModule module);

/* The evidence about the function at `key` as sentences, each with the file it was read from, what
 * decides first. Free with g_strfreev(). */
char **msi_evidence_sentences(PciKey key, const MsiEvidence *evidence);
