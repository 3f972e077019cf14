#include "daemon/sysfs/sysfs.h"

#include "daemon/base/util.h"
#include "policy/absence.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

char *sysfs_function_path(PciAddress address, const char *name) {
        char text[PCI_ADDRESS_STRING_MAX];

        return g_strconcat(SYSFS_PCI_DEVICES "/", pci_address_format(address, text),
                           name ? "/" : NULL, name, NULL);
}

int sysfs_open_function(PciAddress address) {
        char path[sizeof(SYSFS_PCI_DEVICES "/") + PCI_ADDRESS_STRING_MAX];
        int fd;

        pci_address_format(address, g_stpcpy(path, SYSFS_PCI_DEVICES "/"));
        fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
        return fd < 0 ? -errno : fd;
}

int sysfs_list_functions(GArray **ret) {
        g_autoptr(GArray) keys = g_array_new(FALSE, FALSE, sizeof(PciKey));
        _cleanup_(closedirp) DIR *dir = opendir(SYSFS_PCI_DEVICES);
        const struct dirent *entry;

        /* Without PCI there is no such directory. */
        if (!dir && !errno_means_absent(-errno))
                return -errno;
        while (dir && (errno = 0, entry = readdir(dir))) {
                PciAddress address;
                PciKey key;

                if (pci_address_parse(entry->d_name, &address) < 0)
                        continue;
                key = pci_address_key(address);
                g_array_append_val(keys, key);
        }
        if (dir && errno != 0)
                return -errno;
        *ret = g_steal_pointer(&keys);
        return 0;
}

ssize_t sysfs_read(int dirfd, const char *name, char *value, size_t size) {
        _cleanup_(closep) int fd = -1;
        ssize_t n;

        fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW);
        if (fd < 0)
                return -errno;
        n = read(fd, value, size);
        if (n < 0)
                return -errno;
        if ((size_t) n == size)
                return -EFBIG;

        if (n > 0 && value[n - 1] == '\n')
                n--;
        value[n] = '\0';
        return n;
}

ssize_t sysfs_read_link(int dirfd, const char *name, char *value, size_t size) {
        char target[PATH_MAX];
        const char *last;
        ssize_t n;

        n = readlinkat(dirfd, name, target, sizeof(target));
        if (n < 0)
                return -errno;
        if ((size_t) n == sizeof(target))
                return -EFBIG;
        target[n] = '\0';

        last = strrchr(target, '/');
        last = last ? last + 1 : target;
        if (strlen(last) >= size)
                return -EFBIG;
        return g_stpcpy(value, last) - value;
}

int sysfs_read_binding(PciAddress address, uint64_t *ret) {
        g_autofree char *path = sysfs_function_path(address, "driver");
        struct stat st = { 0 };

        if (lstat(path, &st) < 0 && !errno_means_absent(-errno))
                return -errno;
        *ret = st.st_ino;
        return 0;
}
