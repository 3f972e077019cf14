#include "daemon/slot.h"

#include "daemon/sysfs.h"
#include "daemon/util.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>

static bool slot_holds(int dirfd, const Function *function) {
        char value[SYSFS_VALUE_MAX];
        PciAddress slot;

        if (sysfs_read(dirfd, "address", value, sizeof(value)) < 0 ||
            pci_address_parse_slot(value, function->facts.s390, &slot) < 0)
                return false;
        return function->facts.s390 ? pci_address_key(slot) == function->facts.key
                                    : pci_address_same_device(slot, function_address(function));
}

int slot_find_power(const Function *function, char **ret) {
        _cleanup_(closedirp) DIR *dir = NULL;

        if (function->pf && !function->facts.s390)
                function = function->pf;

        dir = opendir(SYSFS_PCI_SLOTS);
        if (!dir)
                return -errno;
        for (struct dirent *entry; (entry = readdir(dir));) {
                _cleanup_(closep) int fd = -1;

                if (entry->d_name[0] == '.')
                        continue;
                fd = openat(dirfd(dir), entry->d_name, O_PATH | O_DIRECTORY | O_CLOEXEC);
                if (fd < 0 || !slot_holds(fd, function) || faccessat(fd, "power", F_OK, 0) < 0)
                        continue;
                *ret = g_strconcat(SYSFS_PCI_SLOTS "/", entry->d_name, "/power", NULL);
                return 0;
        }
        return -ENOENT;
}
