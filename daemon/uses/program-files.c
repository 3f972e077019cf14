#include "daemon/uses/program-files.h"

#include "daemon/base/util.h"
#include "daemon/uses/device-path.h"
#include "policy/proc-text.h"

#include <glib.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

/* Longer paths are of no interest: those of sysfs have a bridge in each part. */
#define TARGET_MAX 1024
#define TEXT_MAX   2048
#define SYSFS_ROOT "/sys"
/* So many files of one process are reported. */
#define TOLD_MAX 64

static ssize_t read_text(int dirfd, const char *name, char *text, size_t size) {
        _cleanup_(closep) int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC);
        ssize_t n = fd < 0 ? -1 : read(fd, text, size - 1);

        if (n < 0)
                return -errno;
        text[n] = '\0';
        return n;
}

int program_open(ProgramProcess *process) {
        g_autofree char *path = g_strdup_printf("%s/%" PRIu32, process->proc, process->pid);
        char text[TEXT_MAX];
        ssize_t n;

        process->fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (process->fd < 0)
                return -errno;
        n = read_text(process->fd, "status", text, sizeof(text));
        if (n < 0)
                return (int) n;
        if (process_status_parse(text, &process->status) < 0)
                return -EBADMSG;
        process->dir = opendir_at(process->fd, "fd");
        return process->dir ? 0 : -errno;
}

void program_close(ProgramProcess *process) {
        closedirp(&process->dir);
        closep(&process->fd);
}

/* By its device number: anybody can call a file "uio0". */
static bool find_uio(const struct statx *st, PciKey *ret) {
        g_autofree char *link = NULL;

        if (!S_ISCHR(st->stx_mode))
                return false;
        link = g_strdup_printf(SYSFS_ROOT "/dev/char/%u:%u", st->stx_rdev_major,
                               st->stx_rdev_minor);
        return device_path_find(link, ret) > 0;
}

/* In the sysfs of the host, of which nobody makes folders. */
static bool find_in_sysfs(const struct statx *st, const char *path, PciKey *ret) {
        struct stat sysfs;

        return S_ISREG(st->stx_mode) && stat(SYSFS_ROOT, &sysfs) == 0 &&
               makedev(st->stx_dev_major, st->stx_dev_minor) == sysfs.st_dev &&
               device_path_function(path, ret);
}

static bool program_holds(const ProgramProcess *process, const char *number, DeviceFile kind) {
        g_autofree char *name = g_strconcat("fdinfo/", number, NULL);
        char text[TEXT_MAX];
        OpenFlags flags;

        if (read_text(process->fd, name, text, sizeof(text)) < 0)
                return false; /* closed meanwhile */
        return open_flags_parse(text, &flags) && !flags.path_only &&
               (kind != DEVICE_FILE_CONFIG || flags.writes);
}

/* Returns whether the descriptor is of such a file, with the file in `*file`. */
static bool find_file(const ProgramProcess *process, const char *number, char *link,
                      ProgramFile *file) {
        ssize_t n = readlinkat(dirfd(process->dir), number, link, TARGET_MAX);
        struct statx st;

        if (n < 0 || n == TARGET_MAX)
                return false;
        link[n] = '\0';
        file->kind = device_file_parse(link);
        /* Without a question to the file system, which may be a stranger's (FUSE). */
        if (file->kind == DEVICE_FILE_OTHER ||
            statx(dirfd(process->dir), number, AT_STATX_DONT_SYNC, STATX_TYPE, &st) < 0)
                return false;
        if (file->kind == DEVICE_FILE_UIO ? !find_uio(&st, &file->key)
                                          : !find_in_sysfs(&st, link, &file->key))
                return false;
        file->name = strrchr(link, '/') + 1;
        return program_holds(process, number, file->kind);
}

int program_read(ProgramProcess *process, unsigned max, unsigned *ret_n) {
        g_autoptr(GHashTable) told = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        const struct dirent *entry;
        char link[TARGET_MAX];

        for (*ret_n = 0; *ret_n < max && g_hash_table_size(told) < TOLD_MAX; (*ret_n)++) {
                ProgramFile file = { .program = process->status.name, .pid = process->pid };

                errno = 0;
                entry = readdir(process->dir);
                if (!entry)
                        return -errno;
                if (entry->d_name[0] == '.' || !find_file(process, entry->d_name, link, &file))
                        continue;
                if (g_hash_table_add(told, g_strdup(link)))
                        process->found(process->context, &file);
        }
        return 0;
}
