#include "daemon/sysfs/config-reader.h"

#include "daemon/base/util.h"
#include "daemon/sysfs/sysfs.h"
#include "policy/absence.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

/* Conventional PCI functions have this much; `config` is 4096 bytes where there is more. */
#define CONVENTIONAL_SIZE 256

/* `otherwise` where there is no such file. Of one that cannot be read nothing can be said that
 * would let a device be touched. */
static bool is_word(int dirfd, const char *name, const char *word, bool otherwise) {
        char value[SYSFS_VALUE_MAX];
        ssize_t n = sysfs_read(dirfd, name, value, sizeof(value));

        if (n < 0)
                return otherwise && errno_means_absent((int) n);
        return strcmp(value, word) == 0;
}

/* A function without power management, as many VFs, is suspended in D0. */
static bool in_light_sleep(int dirfd) {
        static const char *const states[] = { "D0", "D1", "D2", "D3hot" };

        if (!is_word(dirfd, "power/runtime_status", "suspended", false))
                return false;
        for (size_t i = 0; i < G_N_ELEMENTS(states); i++)
                if (is_word(dirfd, "power_state", states[i], false))
                        return true;
        return false;
}

/* Whether a read would wake something. Files that do not exist (power management is not configured,
 * a host bridge above) belong to what never sleeps. */
static bool sleeps(int dirfd) {
        if (is_word(dirfd, "power/runtime_status", "active", true) ||
            is_word(dirfd, "power/runtime_status", "unsupported", true))
                return false;
        return !(in_light_sleep(dirfd) &&
                 (is_word(dirfd, "../power/runtime_status", "active", true) ||
                  is_word(dirfd, "../power/runtime_status", "unsupported", true)));
}

static int config_reader_read_word(void *context, unsigned offset, uint32_t *ret) {
        uint32_t word;
        ssize_t n = pread(*(const int *) context, &word, sizeof(word), offset);

        if (n < 0)
                return -errno;
        if (n != sizeof(word))
                return -EPERM;
        *ret = le32toh(word);
        return 0;
}

/* Opens `config`. Returns a descriptor, -ENOENT if there is none, or another negative errno as
 * above. */
static int open_config(int dirfd, off_t *ret_size) {
        struct stat st;
        int fd;

        if (fstatat(dirfd, "config", &st, AT_SYMLINK_NOFOLLOW) < 0)
                return -errno;
        if (sleeps(dirfd))
                return -EAGAIN;
        fd = openat(dirfd, "config", O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW);
        if (fd < 0)
                return -errno;
        *ret_size = st.st_size;
        return fd;
}

void config_reader_read(int dirfd, bool is_vf, ConfigReading *ret) {
        off_t size = 0;
        _cleanup_(closep) int fd = open_config(dirfd, &size);
        int missing = fd == -ENOENT ? 0 : fd;
        /* Without extended space, the kernel found none (pci_cfg_space_size()). */
        bool extended = fd >= 0 && size > CONVENTIONAL_SIZE;

        *ret = (ConfigReading){ 0 };
        ret->msix_result = fd < 0 ? missing : msix_find(config_reader_read_word, &fd, &ret->msix);
        if (is_vf)
                return;
        if (extended)
                ret->pasid_result = pasid_find(config_reader_read_word, &fd, &ret->pasid);
        else
                ret->pasid_result = missing < 0 ? missing : 0;
        ret->pcie_result =
                fd < 0 ? missing : pcie_find(config_reader_read_word, &fd, extended, &ret->pcie);
}
