#include "daemon/msi-reader.h"

#include "daemon/sysfs.h"
#include "daemon/util.h"
#include "policy/number.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

/* All MSIs of a function belong to one domain of interrupts; some are read, so that a surprise is seen. */
#define INTERRUPTS_MAX 4

/* The name of an interrupt's controller, or NULL. */
static GRefString *read_chip(uint32_t irq) {
        char path[64], value[SYSFS_VALUE_MAX];

        snprintf(path, sizeof(path), "/sys/kernel/irq/%u/chip_name", irq);
        /* Empty while the interrupt has no controller. */
        return sysfs_read(AT_FDCWD, path, value, sizeof(value)) > 0 ? g_ref_string_new_intern(value)
                                                                    : NULL;
}

/* Lists the lowest of the function's interrupts, always the same as long as it has them. Returns how many. */
static unsigned list_interrupts(DIR *dir, uint32_t irqs[static INTERRUPTS_MAX]) {
        unsigned n = 0;

        for (struct dirent *file; (file = readdir(dir));) {
                uint64_t irq;
                unsigned place = n;

                if (number_parse(file->d_name, 10, UINT32_MAX, &irq) < 0)
                        continue;
                while (place > 0 && irqs[place - 1] > irq)
                        place--;
                if (place == INTERRUPTS_MAX)
                        continue;
                n = MIN(n + 1, INTERRUPTS_MAX);
                memmove(irqs + place + 1, irqs + place, (n - place - 1) * sizeof(*irqs));
                irqs[place] = (uint32_t) irq;
        }
        return n;
}

void msi_reader_chips(MsiArchitecture architecture, PciKey key, int function_fd, MsiChips *ret) {
        _cleanup_(closedirp) DIR *dir = opendir_at(function_fd, "msi_irqs");
        uint32_t irqs[INTERRUPTS_MAX];
        unsigned n;

        *ret = (MsiChips){ 0 };
        if (!dir)
                return;
        n = list_interrupts(dir, irqs);
        for (unsigned i = 0; i < n; i++) {
                MsiInterrupt interrupt = { read_chip(irqs[i]), key, irqs[i] }, *place;
                char name[16];

                if (!interrupt.chip)
                        continue;
                place = msi_chip_isolates(architecture, interrupt.chip) ? &ret->isolating
                                                                        : &ret->other;
                snprintf(name, sizeof(name), "%u", irqs[i]);
                /* Freed meanwhile, its number may be another function's already. */
                if (place->chip || faccessat(dirfd(dir), name, F_OK, 0) < 0)
                        g_ref_string_release(interrupt.chip);
                else
                        *place = interrupt;
        }
}

MsiIommu msi_reader_iommu(const char *name, bool *ret_has_ecap, uint64_t *ret_ecap) {
        g_autofree char *path = g_strconcat("/sys/class/iommu/", name, NULL);
        char value[SYSFS_VALUE_MAX];
        _cleanup_(closep) int dirfd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);

        *ret_has_ecap = false;
        if (dirfd < 0)
                return MSI_IOMMU_OTHER;
        /* "%llx" without 0x (ecap_show() in drivers/iommu/intel/iommu.c). */
        *ret_has_ecap = sysfs_read(dirfd, "intel-iommu/ecap", value, sizeof(value)) >= 0 &&
                        number_parse(value, 16, UINT64_MAX, ret_ecap) == 0;
        if (faccessat(dirfd, "intel-iommu", F_OK, 0) == 0)
                return MSI_IOMMU_INTEL;
        return faccessat(dirfd, "amd-iommu", F_OK, 0) == 0 ? MSI_IOMMU_AMD : MSI_IOMMU_OTHER;
}

MsiUnsafe msi_reader_unsafe(MsiUnsafeModule module) {
        char value[SYSFS_VALUE_MAX];

        if (sysfs_read(AT_FDCWD, msi_unsafe_path(module), value, sizeof(value)) < 0)
                return MSI_UNSAFE_UNKNOWN;
        return strcmp(value, "N") == 0 ? MSI_UNSAFE_NO : MSI_UNSAFE_YES;
}
