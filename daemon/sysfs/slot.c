#include "daemon/sysfs/slot.h"

#include "daemon/base/util.h"
#include "daemon/sysfs/sysfs.h"
#include "policy/absence.h"
#include "policy/slot.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>

static bool is_in(const Function *function, PciAddress slot) {
        return pci_address_key(slot) == pci_address_key(slot_address(function));
}

/* Returns 1 if the function sits in the slot at `dirfd` and the slot has a `power` file, 0 if not,
 * or a negative errno when that cannot be read. */
static int slot_serves(int dirfd, const Function *function) {
        char value[SYSFS_VALUE_MAX];
        PciAddress slot;
        ssize_t n;

        n = sysfs_read(dirfd, "address", value, sizeof(value));
        if (n < 0)
                return (int) n;
        if (pci_address_parse_slot(value, function->facts.s390, &slot) < 0 ||
            !is_in(function, slot))
                return 0;
        return faccessat(dirfd, "power", F_OK, 0) < 0 ? -errno : 1;
}

int slot_find_power(const Function *function, char **ret) {
        _cleanup_(closedirp) DIR *dir = NULL;
        const struct dirent *entry;
        int r, unreadable = 0;

        if (function->pf && !function->facts.s390)
                function = function->pf;

        dir = opendir(SYSFS_PCI_SLOTS);
        if (!dir)
                return -errno;
        while ((errno = 0, entry = readdir(dir))) {
                _cleanup_(closep) int fd = -1;

                if (entry->d_name[0] == '.')
                        continue;
                fd = openat(dirfd(dir), entry->d_name, O_PATH | O_DIRECTORY | O_CLOEXEC);
                r = fd < 0 ? -errno : slot_serves(fd, function);
                /* Another may be the one; if none is, this one may have been. */
                if (r < 0 && !errno_means_absent(r))
                        unreadable = r;
                if (r <= 0)
                        continue;
                *ret = g_strconcat(SYSFS_PCI_SLOTS "/", entry->d_name, "/power", NULL);
                return 0;
        }
        if (errno != 0)
                return -errno;
        return unreadable < 0 ? unreadable : -ENOENT;
}
