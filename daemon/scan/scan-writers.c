#include "daemon/scan/scan-writers.h"

#include "daemon/base/process.h"
#include "daemon/base/util.h"
#include "policy/absence.h"
#include "policy/external-removal.h"
#include "policy/number.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define STEP_FDS 512
/* To open such a file takes root. Of other users, which got it from root, so many descriptors are
 * looked at. */
#define OTHERS_FDS_MAX 1024
#define LINE_MAX_READ  4096

typedef struct Search {
        DIR *proc, *fds;
        pid_t pid;
        unsigned n_fds; /* of this process, so far */
} Search;

static void search_free(gpointer data) {
        Search *search = data;

        closedirp(&search->proc);
        closedirp(&search->fds);
        g_free(search);
}

/* Whether "MAJOR:MINOR" is sysfs's in a list of mounts: "ID PARENT MAJOR:MINOR ... - TYPE SOURCE
 * ...", see proc_pid_mountinfo(5). Returns 1, 0 or a negative errno. */
static int is_sysfs_of(const char *path, const char *device) {
        g_autofree char *wanted = g_strdup_printf(" %s ", device);
        FILE *file = fopen(path, "re");
        char line[LINE_MAX_READ];
        bool found = false;

        if (!file &&
            errno == EINVAL) /* it is ending: mounts_open_common() in fs/proc_namespace.c */
                return 0;
        if (!file)
                return -errno;
        while (!found && fgets(line, sizeof(line), file)) {
                const char *number = strstr(line, wanted), *type = strstr(line, " - ");

                found = number && type && number < type && g_str_has_prefix(type, " - sysfs ");
        }
        fclose(file);
        return found;
}

static int is_sysfs(pid_t pid, int dirfd, const char *number) {
        g_autofree char *mounts = g_strdup_printf("/proc/%d/mountinfo", pid);
        g_autofree char *device = NULL;
        struct statx st;
        int r;

        if (statx(dirfd, number, AT_STATX_DONT_SYNC, STATX_TYPE | STATX_UID, &st) < 0)
                return -errno;
        if (!S_ISREG(st.stx_mode))
                return 0;
        device = g_strdup_printf("%u:%u", st.stx_dev_major, st.stx_dev_minor);
        r = is_sysfs_of("/proc/self/mountinfo", device);
        /* A tenant can have many files of that name, and 100,000 mounts (fs.mount-max) to be read
         * for each, but no file of root's that is open for writing. */
        return r != 0 || st.stx_uid != 0 ? r : is_sysfs_of(mounts, device);
}

/* A process or a descriptor that has gone meanwhile is no failure. */
static void scan_writers_note(ScanJob *job, int r) {
        if (r < 0 && !errno_means_absent(r) && !scan_child_is_end(r))
                job->result = r;
}

static void look_at_fd(ScanChild *child, ScanJob *job, const Search *search, const char *number) {
        g_autofree ScanAnswer *answer = NULL;
        int fds = dirfd(search->fds);
        char target[PATH_MAX];
        const char *path;
        struct stat st;
        ssize_t n;
        int r;

        n = readlinkat(fds, number, target, sizeof(target) - 1);
        if (n < 0)
                scan_writers_note(job, -errno);
        if (n <= 0)
                return;
        target[n] = '\0';
        path = external_removal_path(target);
        /* The link's own bits say how it was opened. */
        if (!path || strlen(path) >= SCAN_PATH_MAX ||
            (int) external_removal_file_operation(path) < 0 ||
            fstatat(fds, number, &st, AT_SYMLINK_NOFOLLOW) < 0 || !(st.st_mode & S_IWUSR))
                return;
        r = is_sysfs(search->pid, fds, number);
        scan_writers_note(job, r);
        if (r <= 0)
                return;
        answer = g_new0(ScanAnswer, 1);
        answer->kind = SCAN_KIND_WRITER;
        answer->writer.pid = search->pid;
        g_strlcpy(answer->writer.path, path, SCAN_PATH_MAX);
        scan_child_send(child, job, answer);
}

static bool is_roots(pid_t pid) {
        uint32_t uid;

        return process_read_uid(pid, &uid) >= 0 && uid == 0;
}

/* Who unloads a module has no file open; the kernel shows the system call that a process is in
 * (proc_pid_syscall() in fs/proc/base.c). */
static bool unloads_module(pid_t pid) {
        g_autofree char *path = g_strdup_printf("/proc/%d/syscall", pid);
        g_autofree char *wanted = g_strdup_printf("%d ", SYS_delete_module);
        _cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
        char text[32] = "";

        return fd >= 0 && read(fd, text, sizeof(text) - 1) > 0 && g_str_has_prefix(text, wanted);
}

static void look_at_call(ScanChild *child, ScanJob *job, pid_t pid) {
        g_autofree ScanAnswer *answer = NULL;

        if (!is_roots(pid) || !unloads_module(pid))
                return;
        answer = g_new0(ScanAnswer, 1);
        answer->kind = SCAN_KIND_WRITER;
        answer->writer.pid = pid;
        g_strlcpy(answer->writer.path, EXTERNAL_REMOVAL_OF_MODULE, SCAN_PATH_MAX);
        scan_child_send(child, job, answer);
}

static void scan_writers_end_process(Search *search) {
        closedirp(&search->fds);
        search->fds = NULL;
}

/* Returns whether the process has no more. */
static bool read_fds(ScanChild *child, ScanJob *job, Search *search) {
        for (unsigned i = 0; i < STEP_FDS; i++) {
                const struct dirent *entry;

                errno = 0;
                entry = readdir(search->fds);
                scan_writers_note(job, -errno);
                if (!entry)
                        return true;
                if (entry->d_name[0] != '.')
                        look_at_fd(child, job, search, entry->d_name);
        }
        search->n_fds += STEP_FDS;
        return search->n_fds == OTHERS_FDS_MAX && !is_roots(search->pid);
}

/* Returns whether there is one. */
static bool next_process(ScanChild *child, ScanJob *job, Search *search) {
        g_autofree char *path = NULL;
        const struct dirent *entry;
        uint64_t pid;

        errno = 0;
        entry = readdir(search->proc);
        scan_writers_note(job, -errno);
        if (!entry)
                return false;
        if (number_parse(entry->d_name, 10, INT_MAX, &pid) < 0)
                return true;
        search->pid = (pid_t) pid;
        search->n_fds = 0;
        scan_child_at(child, search->pid);
        if (scan_child_avoids(child, search->pid) & SCAN_AVOID_LOOKING)
                return true;
        look_at_call(child, job, search->pid);
        path = g_strdup_printf("/proc/%d/fd", search->pid);
        search->fds = opendir(path);
        if (!search->fds)
                scan_writers_note(job, -errno);
        return true;
}

bool scan_writers_step(ScanChild *child, ScanJob *job) {
        Search *search = job->data;

        if (!search) {
                search = g_new0(Search, 1);
                job->data = search;
                job->data_free = search_free;
                search->proc = opendir("/proc");
                if (!search->proc) {
                        job->result = -errno;
                        return true;
                }
        }
        if (!search->fds && !next_process(child, job, search))
                return true;
        scan_child_at(child, search->pid);
        if (search->fds && read_fds(child, job, search))
                scan_writers_end_process(search);
        return false;
}
