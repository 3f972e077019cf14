#include "daemon/writers.h"

#include "daemon/log.h"
#include "daemon/process.h"
#include "daemon/util.h"
#include "policy/number.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/statfs.h>

static void free_writer(gpointer writer) {
        outside_writer_free(writer);
}

/* The target is text that anybody can make up with a file of that name; the file system is not. */
static bool is_sysfs(uint32_t pid, const char *number) {
        g_autofree char *path = g_strdup_printf("/proc/%u/fd/%s", pid, number);
        struct statfs st;

        return statfs(path, &st) == 0 && st.f_type == SYSFS_MAGIC;
}

static void look_at_fd(GPtrArray *writers, uint32_t pid, int dirfd, const char *number) {
        char target[PATH_MAX];
        const char *path;
        Operation operation;
        OutsideWriter *writer;
        struct stat st;
        ssize_t n;

        n = readlinkat(dirfd, number, target, sizeof(target) - 1);
        if (n <= 0)
                return;
        target[n] = '\0';
        path = outside_path(target);
        operation = path ? outside_file_operation(path) : _OPERATION_INVALID;
        /* The link's own bits say how it was opened. */
        if (operation < 0 || fstatat(dirfd, number, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
            !(st.st_mode & S_IWUSR) || !is_sysfs(pid, number))
                return;
        writer = g_new(OutsideWriter, 1);
        *writer = (OutsideWriter){ pid, operation, g_strdup(path) };
        g_ptr_array_add(writers, writer);
}

static void look_at_process(GPtrArray *writers, uint32_t pid) {
        _cleanup_(closep) int procfd = process_open_directory((pid_t) pid);
        _cleanup_(closedirp) DIR *dir = opendir_at(procfd, "fd");
        const struct dirent *entry;

        while (dir && (entry = readdir(dir)))
                if (entry->d_name[0] != '.')
                        look_at_fd(writers, pid, dirfd(dir), entry->d_name);
}

static int compare_pids(gconstpointer a, gconstpointer b) {
        uint32_t x = (*(const OutsideWriter *const *) a)->pid,
                 y = (*(const OutsideWriter *const *) b)->pid;

        return (x > y) - (x < y);
}

GPtrArray *writers_find(void) {
        GPtrArray *writers = g_ptr_array_new_with_free_func(free_writer);
        _cleanup_(closedirp) DIR *proc = opendir("/proc");
        const struct dirent *entry;
        uint64_t pid;

        if (!proc)
                log_error("/proc cannot be read: %m");
        while (proc && (entry = readdir(proc)))
                if (number_parse(entry->d_name, 10, INT_MAX, &pid) >= 0)
                        look_at_process(writers, (uint32_t) pid);
        g_ptr_array_sort(writers, compare_pids);
        return writers;
}
