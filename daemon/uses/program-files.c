#include "daemon/uses/program-files.h"

#include "daemon/base/process.h"
#include "daemon/base/util.h"
#include "daemon/uses/device-path.h"
#include "policy/number.h"
#include "policy/proc-text.h"

#include <errno.h>
#include <glib.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

/* Longer paths are of no interest: those of sysfs have a bridge in each part. */
#define TARGET_MAX 1024
#define TEXT_MAX   2048
#define SYSFS_ROOT "/sys"
/* So many files of one process are reported; of root's, all: a driver in user space has many. */
#define TOLD_MAX 64

static ssize_t read_text(int dirfd, const char *name, char *text, size_t size) {
        _cleanup_(closep) int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC);
        ssize_t n = fd < 0 ? -1 : read(fd, text, size - 1);

        if (n < 0)
                return -errno;
        text[n] = '\0';
        return n;
}

static int read_status(int dirfd, const char *name, ProcessStatus *ret) {
        char text[TEXT_MAX];
        ssize_t n = read_text(dirfd, name, text, sizeof(text));

        return n < 0 ? (int) n : process_status_parse(text, ret);
}

int program_read_status(const char *proc, uint32_t pid, ProcessStatus *ret) {
        g_autofree char *path = g_strdup_printf("%s/%" PRIu32 "/status", proc, pid);

        return read_status(AT_FDCWD, path, ret);
}

/* The lists of a thread that has them still. */
static int enter_thread(ProgramProcess *process) {
        g_autofree char *path = NULL;
        pid_t thread = process->thread;
        int r = 0;

        if (thread == 0)
                r = process_find_thread(process->proc, (pid_t) process->pid, &process->status,
                                        &thread);
        if (r < 0 || (uint32_t) thread == process->pid)
                return r;
        path = g_strdup_printf("%s/%" PRIu32 "/task/%d", process->proc, process->pid, thread);
        closep(&process->fd);
        process->fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
        return process->fd < 0 ? -errno : 0;
}

int program_open(ProgramProcess *process) {
        g_autofree char *path = g_strdup_printf("%s/%" PRIu32, process->proc, process->pid);
        int r;

        process->fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (process->fd < 0)
                return -errno;
        r = read_status(process->fd, "status", &process->status);
        if (r >= 0)
                r = enter_thread(process);
        if (r < 0)
                return r;
        process->dir = opendir_at(process->fd, "fd");
        return process->dir ? 0 : -errno;
}

void program_close(ProgramProcess *process) {
        closedirp(&process->dir);
        closep(&process->fd);
}

static bool program_file_is(const char *path, uint64_t inode) {
        struct stat st;

        return stat(path, &st) == 0 && st.st_ino == inode;
}

bool program_bar_is(const char *link, PciKey key, uint64_t inode) {
        char address[PCI_ADDRESS_STRING_MAX];
        g_autofree char *path = g_strdup_printf(
                SYSFS_ROOT "/bus/pci/devices/%s/%s",
                pci_address_format(pci_address_from_key(key), address), strrchr(link, '/') + 1);

        return program_file_is(path, inode);
}

/* In the sysfs of the host. */
static bool find_in_sysfs(const struct statx *st, const char *link, PciKey *ret) {
        struct stat sysfs;

        return S_ISREG(st->stx_mode) && stat(SYSFS_ROOT, &sysfs) == 0 &&
               makedev(st->stx_dev_major, st->stx_dev_minor) == sysfs.st_dev &&
               device_path_function(link, ret) && program_bar_is(link, *ret, st->stx_ino);
}

/* Returns 1, 0 if it holds nothing or was closed meanwhile, or a negative errno. */
static int program_holds(const ProgramProcess *process, const char *number, UseKind kind) {
        g_autofree char *name = g_strconcat("fdinfo/", number, NULL);
        char text[TEXT_MAX];
        OpenFlags flags;
        ssize_t n = read_text(process->fd, name, text, sizeof(text));

        if (n < 0)
                return process_has_ended((int) n) ? 0 : (int) n;
        return open_flags_parse(text, &flags) && !flags.path_only &&
               (kind != USE_PROGRAM_CONFIG || flags.writes);
}

/* Where the descriptor's link leads to. Returns 1; 0 where it has gone, or is longer; or a negative
 * errno. */
static int read_target(const ProgramProcess *process, const char *number, char *link) {
        ssize_t n = readlinkat(dirfd(process->dir), number, link, TARGET_MAX);

        if (n < 0)
                return errno == ENAMETOOLONG || process_has_ended(-errno) ? 0 : -errno;
        if (n == TARGET_MAX)
                return 0;
        link[n] = '\0';
        return 1;
}

static void tell_file(const ProgramProcess *process, PciKey key, UseKind kind, const char *name) {
        const ProgramFile file = { key, kind, name, process->status.name, process->pid };

        process->found(process->context, &file);
}

static int tell_node(const ProgramProcess *process, const char *number, const struct statx *st) {
        const NodeOwner *owner;
        int r = node_owners_find(process->nodes, st, &owner);

        if (r > 0)
                r = program_holds(process, number, owner->kind);
        for (guint i = 0; r > 0 && i < owner->keys->len; i++)
                tell_file(process, g_array_index(owner->keys, PciKey, i), owner->kind, owner->name);
        return r;
}

static int tell_held(const ProgramProcess *process, const char *number, PciKey key, UseKind kind,
                     const char *name) {
        int r = program_holds(process, number, kind);

        if (r > 0)
                tell_file(process, key, kind, name);
        return r;
}

static int tell_sysfs(const ProgramProcess *process, const char *number, const struct statx *st,
                      const char *link) {
        DeviceFile file = device_file_parse(link);
        UseKind kind = file == DEVICE_FILE_CONFIG ? USE_PROGRAM_CONFIG : USE_PROGRAM_RESOURCE;
        PciKey key;

        if ((file != DEVICE_FILE_CONFIG && file != DEVICE_FILE_RESOURCE) ||
            !find_in_sysfs(st, link, &key))
                return 0;
        return tell_held(process, number, key, kind, strrchr(link, '/') + 1);
}

bool program_is_in_proc(const char *proc, const char *link, dev_t device, uint64_t inode) {
        g_autofree char *root = g_strdup_printf("%s/1/root/proc", proc),
                        *path = g_strconcat(root, g_strrstr(link, "/bus/pci/"), NULL);
        struct stat st;

        return stat(root, &st) == 0 && st.st_dev == device && program_file_is(path, inode);
}

static int tell_regular(const ProgramProcess *process, const char *number, const struct statx *st,
                        const char *link) {
        g_autofree char *name = NULL;
        PciAddress address;

        if (!device_file_parse_proc(link, &address) ||
            !program_is_in_proc(process->proc, link, makedev(st->stx_dev_major, st->stx_dev_minor),
                                st->stx_ino))
                return tell_sysfs(process, number, st, link);
        name = g_strconcat("/proc", g_strrstr(link, "/bus/pci/"), NULL);
        return tell_held(process, number, pci_address_key(address), USE_PROGRAM_CONFIG, name);
}

/* Without a question to the file system, which may be a stranger's (FUSE). Returns 1 if the
 * descriptor is of such a file, 0 if not, or a negative errno. */
static int tell_descriptor(const ProgramProcess *process, const char *number, const char *link) {
        struct statx st;

        if (link[0] != '/') {
                packet_sockets_note(process->sockets, link, process->pid, process->status.name);
                return 0;
        }
        if (statx(dirfd(process->dir), number, AT_STATX_DONT_SYNC, STATX_TYPE | STATX_INO, &st) < 0)
                return errno == ENOMEM ? -errno : 0;
        return S_ISREG(st.stx_mode) ? tell_regular(process, number, &st, link)
                                    : tell_node(process, number, &st);
}

int program_read(ProgramProcess *process, unsigned max, unsigned *ret_n) {
        g_autoptr(GHashTable) told = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        unsigned told_max = process->status.uid == 0 ? UINT_MAX : TOLD_MAX;
        const struct dirent *entry;
        char link[TARGET_MAX];
        int r, error = 0;

        for (*ret_n = 0; *ret_n < max && g_hash_table_size(told) < told_max; (*ret_n)++) {
                errno = 0;
                entry = readdir(process->dir);
                if (!entry)
                        return errno != 0 ? -errno : error;
                if (entry->d_name[0] == '.')
                        continue;
                r = read_target(process, entry->d_name, link);
                if (r == 0 || (r > 0 && g_hash_table_contains(told, link)))
                        continue;
                if (r > 0)
                        r = tell_descriptor(process, entry->d_name, link);
                if (r > 0)
                        g_hash_table_add(told, g_strdup(link));
                error = r < 0 ? r : error;
        }
        return error;
}
