#include "daemon/sysfs/file-mode.h"

#include "daemon/base/util.h"
#include "daemon/sysfs/slot.h"
#include "daemon/sysfs/sysfs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

int file_mode_path(const Function *function, LockFile file, Reserve *reserve, char **ret) {
        int r;

        if (file != LOCK_FILE_SLOT_POWER) {
                *ret = sysfs_function_path(function_address(function), lock_file_to_string(file));
                return 0;
        }
        r = slot_find_power(function, ret);
        if (!reserve_helps(r))
                return r;
        reserve_open(reserve);
        r = slot_find_power(function, ret);
        reserve_close(reserve);
        return r;
}

static int try_set(const char *path, uint64_t inode, unsigned mode) {
        _cleanup_(closep) int fd = -1;
        char by_fd[sizeof("/proc/self/fd/") + 11];
        struct stat st;

        fd = open(path, O_PATH | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0 || fstat(fd, &st) < 0)
                return -errno;
        if (st.st_ino != inode)
                return -ENOENT;
        if ((st.st_mode & 07777U) == mode)
                return 0;
        snprintf(by_fd, sizeof(by_fd), "/proc/self/fd/%d", fd);
        return chmod(by_fd, mode) < 0 ? -errno : 0;
}

int file_mode_set(const char *path, uint64_t inode, unsigned mode, Reserve *reserve) {
        int r = try_set(path, inode, mode);

        if (!reserve_helps(r))
                return r;
        reserve_open(reserve);
        r = try_set(path, inode, mode);
        reserve_close(reserve);
        return r;
}
