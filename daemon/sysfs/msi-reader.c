#include "daemon/sysfs/msi-reader.h"

#include "daemon/base/util.h"
#include "daemon/sysfs/sysfs.h"
#include "policy/absence.h"
#include "policy/number.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

/* All MSIs of a function belong to one domain of interrupts; some are read, so that a surprise is
 * seen. */
#define INTERRUPTS_MAX 4

/* The name of an interrupt's controller, NULL without. Returns 0 or a negative errno. */
static int read_chip(uint32_t irq, GRefString **ret) {
        char path[64], value[SYSFS_VALUE_MAX];
        ssize_t n;

        snprintf(path, sizeof(path), "/sys/kernel/irq/%u/chip_name", irq);
        n = sysfs_read(AT_FDCWD, path, value, sizeof(value));
        if (n < 0 && !errno_means_absent((int) n))
                return (int) n;
        /* Empty while the interrupt has no controller. */
        *ret = n > 0 ? g_ref_string_new_intern(value) : NULL;
        return 0;
}

/* Lists the lowest of the function's interrupts, always the same as long as it has them. Returns
 * how many, or a negative errno. */
static int list_interrupts(DIR *dir, uint32_t irqs[static INTERRUPTS_MAX]) {
        const struct dirent *file;
        int n = 0;

        while ((errno = 0, file = readdir(dir))) {
                uint64_t irq;
                int place = n;

                if (number_parse(file->d_name, 10, UINT32_MAX, &irq) < 0)
                        continue;
                while (place > 0 && irqs[place - 1] > irq)
                        place--;
                if (place == INTERRUPTS_MAX)
                        continue;
                n = MIN(n + 1, INTERRUPTS_MAX);
                memmove(irqs + place + 1, irqs + place, (size_t) (n - place - 1) * sizeof(*irqs));
                irqs[place] = (uint32_t) irq;
        }
        return errno != 0 ? -errno : n;
}

/* Notes what the interrupt `irq` says. Returns 0 or a negative errno. */
static int add_interrupt(MsiArchitecture architecture, PciKey key, int dirfd, uint32_t irq,
                         MsiChips *chips) {
        MsiInterrupt interrupt = { NULL, key, irq }, *place;
        char name[16];
        int r;

        r = read_chip(irq, &interrupt.chip);
        if (r < 0 || !interrupt.chip)
                return r;
        place = msi_chip_isolates(architecture, interrupt.chip) ? &chips->isolating : &chips->other;
        snprintf(name, sizeof(name), "%u", irq);
        /* Freed meanwhile, its number may be another function's already. */
        if (place->chip || faccessat(dirfd, name, F_OK, 0) < 0)
                g_ref_string_release(interrupt.chip);
        else
                *place = interrupt;
        return 0;
}

int msi_reader_chips(MsiArchitecture architecture, PciKey key, int function_fd, MsiChips *ret) {
        _cleanup_(closedirp) DIR *dir = opendir_at(function_fd, "msi_irqs");
        uint32_t irqs[INTERRUPTS_MAX] = { 0 };
        MsiChips chips = { 0 };
        int n, r = 0;

        *ret = (MsiChips){ 0 };
        if (!dir)
                return errno_means_absent(-errno) ? 0 : -errno;
        n = list_interrupts(dir, irqs);
        for (int i = 0; r >= 0 && i < n; i++)
                r = add_interrupt(architecture, key, dirfd(dir), irqs[i], &chips);
        if (n < 0 || r < 0) {
                msi_chips_clear(&chips);
                return n < 0 ? n : r;
        }
        *ret = chips;
        return 0;
}

int msi_reader_iommu(const char *name, MsiIommu *ret_kind, bool *ret_has_ecap, uint64_t *ret_ecap) {
        g_autofree char *path = g_strconcat("/sys/class/iommu/", name, NULL);
        char value[SYSFS_VALUE_MAX];
        _cleanup_(closep) int dirfd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
        ssize_t n;

        *ret_kind = MSI_IOMMU_OTHER;
        *ret_has_ecap = false;
        if (dirfd < 0)
                return errno_means_absent(-errno) ? 0 : -errno;
        /* "%llx" without 0x (ecap_show() in drivers/iommu/intel/iommu.c). */
        n = sysfs_read(dirfd, "intel-iommu/ecap", value, sizeof(value));
        if (n < 0 && !errno_means_absent((int) n) && !errno_means_malformed((int) n))
                return (int) n;
        *ret_has_ecap = n >= 0 && number_parse(value, 16, UINT64_MAX, ret_ecap) == 0;
        if (faccessat(dirfd, "intel-iommu", F_OK, 0) == 0)
                *ret_kind = MSI_IOMMU_INTEL;
        else if (faccessat(dirfd, "amd-iommu", F_OK, 0) == 0)
                *ret_kind = MSI_IOMMU_AMD;
        return 0;
}

MsiUnsafe msi_reader_unsafe(MsiUnsafeModule module, MsiUnsafe before) {
        char value[SYSFS_VALUE_MAX];
        ssize_t n = sysfs_read(AT_FDCWD, msi_unsafe_path(module), value, sizeof(value));

        if (n < 0)
                return errno_means_absent((int) n) ? MSI_UNSAFE_UNKNOWN : before;
        return strcmp(value, "N") == 0 ? MSI_UNSAFE_NO : MSI_UNSAFE_YES;
}
