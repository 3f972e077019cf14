#include "daemon/sysfs/file-mode.h"

#include "daemon/base/util.h"
#include "daemon/sysfs/slot.h"
#include "daemon/sysfs/sysfs.h"

#include "policy/absence.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define DEVICES "/devices/"

/* The driver numbers its controllers: `nvme/nvme0` in the function's directory, while it is bound.
 */
static int find_reset_controller(const Function *function, char **ret) {
        g_autofree char *parent = sysfs_function_path(function_address(function), "nvme");
        _cleanup_(closedirp) DIR *dir = opendir(parent);
        const struct dirent *entry;

        if (!dir)
                return -errno;
        while ((errno = 0, entry = readdir(dir)))
                if (entry->d_name[0] != '.') {
                        *ret = g_strdup_printf("%s/%s/reset_controller", parent, entry->d_name);
                        return 0;
                }
        return errno != 0 ? -errno : -ENOENT;
}

/* Of the root bridge that the function's path begins with, of VMD's domains the one above VMD. */
static int find_eject(const Function *function, char **ret) {
        g_autofree char *path = sysfs_function_path(function_address(function), NULL);
        g_autofree char *target = g_malloc(PATH_MAX);
        ssize_t n = readlink(path, target, PATH_MAX - 1);
        const char *root;

        if (n < 0)
                return -errno;
        target[n] = '\0';
        root = strstr(target, DEVICES "pci");
        if (!root)
                return -ENOENT;
        root += strlen(DEVICES);
        *ret = g_strdup_printf("/sys" DEVICES "%.*s/firmware_node/eject", (int) strcspn(root, "/"),
                               root);
        return 0;
}

static int locate(const Function *function, LockFile file, char **ret) {
        if (file == LOCK_FILE_SLOT_POWER)
                return slot_find_power(function, ret);
        if (file == LOCK_FILE_RESET_CONTROLLER)
                return find_reset_controller(function, ret);
        if (file == LOCK_FILE_EJECT)
                return find_eject(function, ret);
        *ret = sysfs_function_path(function_address(function), lock_file_to_string(file));
        return 0;
}

int file_mode_path(const Function *function, LockFile file, Reserve *reserve, char **ret) {
        int r = locate(function, file, ret);

        if (!reserve_helps(r))
                return r;
        reserve_open(reserve);
        r = locate(function, file, ret);
        reserve_close(reserve);
        return r;
}

/* A VF's slot is its PF's, but on s390; as in slot_find_power(). */
static bool is_of_other_slot(const Function *function, const char *path) {
        const Function *owner = function->pf && !function->facts.s390 ? function->pf : function;
        g_autofree char *directory = g_path_get_dirname(path);
        g_autofree char *name = g_path_get_basename(directory);

        return owner->slot && !g_str_equal(owner->slot, name);
}

bool file_mode_is_stale(const Function *function, LockFile file, Reserve *reserve, const char *path,
                        uint64_t inode) {
        g_autofree char *now = NULL;
        struct stat st;
        int r;

        if (file == LOCK_FILE_SLOT_POWER)
                return is_of_other_slot(function, path);
        if (file != LOCK_FILE_RESET_CONTROLLER)
                return false;
        r = file_mode_path(function, file, reserve, &now);
        if (r >= 0 && now && lstat(now, &st) < 0)
                r = -errno;
        if (r < 0)
                return errno_means_absent(r);
        return !now || !g_str_equal(now, path) || st.st_ino != inode;
}

char *file_mode_watched(LockFile file, const char *path) {
        return file == LOCK_FILE_SLOT_POWER ? g_strdup(path) : g_path_get_dirname(path);
}

/* With `unlocks`, `mode` is the file's own mode from before it was locked. */
static int try_set(const char *path, uint64_t inode, unsigned mode, bool unlocks) {
        _cleanup_(closep) int fd = -1;
        char by_fd[sizeof("/proc/self/fd/") + 11];
        struct stat st;

        fd = open(path, O_PATH | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0 || fstat(fd, &st) < 0)
                return -errno;
        if (st.st_ino != inode)
                return -ENOENT;
        if (unlocks)
                mode = lock_file_own_mode(mode, st.st_mode & 0777U);
        if ((st.st_mode & 07777U) == mode)
                return 0;
        snprintf(by_fd, sizeof(by_fd), "/proc/self/fd/%d", fd);
        return chmod(by_fd, mode) < 0 ? -errno : 0;
}

static int set_or_unlock(const char *path, uint64_t inode, unsigned mode, bool unlocks,
                         Reserve *reserve) {
        int r = try_set(path, inode, mode, unlocks);

        if (!reserve_helps(r))
                return r;
        reserve_open(reserve);
        r = try_set(path, inode, mode, unlocks);
        reserve_close(reserve);
        return r;
}

int file_mode_set(const char *path, uint64_t inode, unsigned mode, Reserve *reserve) {
        return set_or_unlock(path, inode, mode, false, reserve);
}

int file_mode_unlock(const char *path, uint64_t inode, unsigned own, Reserve *reserve) {
        return set_or_unlock(path, inode, own, true, reserve);
}
