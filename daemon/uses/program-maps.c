#include "daemon/uses/program-maps.h"

#include "daemon/base/process.h"
#include "daemon/base/thread-tables.h"
#include "daemon/base/util.h"
#include "daemon/uses/device-path.h"
#include "daemon/uses/program-files.h"
#include "daemon/uses/use-report.h"
#include "policy/absence.h"
#include "policy/device-file.h"
#include "policy/look-share.h"
#include "policy/number.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/magic.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <sys/wait.h>

#define SYSFS_ROOT "/sys"
/* A process with hundreds of thousands of mappings takes some milliseconds. */
#define PATIENCE_MSEC 250
/* So many processes of one user may keep a reader waiting in one look, and so many of all users;
 * then others of the user are not read, and only root's are. */
#define WAITS_OF_USER_MAX 2
#define WAITS_MAX         8
/* Threads of one process that are compared. */
#define THREADS_MAX 256
/* For the end of a killed reader; and for that of one that waits for a processor. */
#define END_USEC      (250 * 1000ULL)
#define END_BUSY_USEC (2 * 1000 * 1000ULL)
#define END_STEP_USEC 1000

/* Bytes. A mapping takes 100, and a process has up to 65,530 (vm.max_map_count). */
static const LookShare maps_share = {
        .of_user = UINT64_C(32) * 1024 * 1024,
        .of_users = UINT64_C(128) * 1024 * 1024,
        .of_process = UINT64_C(16) * 1024,
        .usec = 1000 * 1000,
};

/* What the reader says: that it begins with a process, or what that has mapped. */
typedef struct MapsReport {
        uint32_t index; /* in the list */
        uint32_t uid;   /* whose that process is */
        int32_t is_end;
        int32_t error;  /* at the end: negative if some may be missing */
        int32_t kind;   /* UseKind, of what is mapped */
        int32_t thread; /* not 0: has descriptors of its own; nothing is mapped */
        PciKey key;
        char name[32]; /* "" when it begins */
} MapsReport;

typedef struct MapsSearch {
        const char *proc;
        const GArray *pids; /* of uint32_t */
        const ProgramMapsHandler *handler;
        void *context;
        StuckChildren *stuck;
        guint next;        /* the first that no reader has begun with */
        bool has_begun;    /* the reader, with the one before ... */
        uint32_t uid;      /* ... which is this user's */
        GHashTable *waits; /* uid -> number of their processes that made a reader wait */
        unsigned n_waits;
} MapsSearch;

/* What has been read of the processes of users other than root. */
typedef struct MapsTally {
        GHashTable *of_users; /* uid -> bytes */
        size_t of_all;
        uint64_t begun_usec;
} MapsTally;

/* --- the reader, a process of its own */

static void maps_send(int channel, const MapsReport *report) {
        if (send(channel, report, sizeof(*report), MSG_NOSIGNAL) < 0)
                _exit(EXIT_FAILURE);
}

/* A mapping of a file that has the name of a BAR, or of a device of uio. */
typedef struct MapsLine {
        const char *range; /* "7f0000000000-7f0000001000" */
        const char *path;
        dev_t device;
        uint64_t inode;
} MapsLine;

/* "ADDRESSES PERMISSIONS OFFSET MAJOR:MINOR INODE   PATH\n" (show_map_vma() in
 * fs/proc/task_mmu.c). */
static bool parse_maps_line(char *line, MapsLine *ret) {
        char *path = strchr(line, '/');
        uint32_t major, minor;
        MapsLine parsed = { 0 };
        PciAddress address;
        DeviceFile file;

        if (!path)
                return false;
        path[strcspn(path, "\n")] = '\0';
        file = device_file_parse(path);
        if (file != DEVICE_FILE_RESOURCE && file != DEVICE_FILE_UIO &&
            !device_file_parse_proc(path, &address))
                return false;

        g_auto(GStrv) fields = g_strsplit(line, " ", 6);

        if (g_strv_length(fields) != 6 || number_parse_device(fields[3], 16, &major, &minor) < 0 ||
            number_parse(fields[4], 10, UINT64_MAX, &parsed.inode) < 0)
                return false;
        parsed.device = makedev(major, minor);
        parsed.path = path;
        line[strcspn(line, " ")] = '\0'; /* it begins with the range */
        parsed.range = line;
        *ret = parsed;
        return true;
}

/* The file that is mapped, by whatever name. A file system of a tenant's may make the reader wait
 * for ever (FUSE). */
static char *mapped_file(const MapsSearch *search, pid_t thread, const MapsLine *line) {
        return g_strdup_printf("%s/%d/map_files/%s", search->proc, thread,
                               line->range + strspn(line->range, "0"));
}

/* The sysfs of a container has a device number of its own, one for each network namespace. A file
 * system of a tenant can have the path and the inode, but is of another kind. */
static bool is_in_any_sysfs(const MapsSearch *search, pid_t thread, const MapsLine *line) {
        g_autofree char *path = mapped_file(search, thread, line);
        struct statfs fs;

        return statfs(path, &fs) == 0 && fs.f_type == SYSFS_MAGIC;
}

/* The inode of a BAR is the same in each sysfs (kernfs_ino()). */
static bool find_bar(const MapsSearch *search, pid_t thread, dev_t sysfs, const MapsLine *line,
                     MapsReport *report) {
        if (!device_path_function(line->path, &report->key) ||
            !program_bar_is(line->path, report->key, line->inode) ||
            (line->device != sysfs && !is_in_any_sysfs(search, thread, line)))
                return false;
        report->kind = USE_PROGRAM_MAPPED;
        g_strlcpy(report->name, strrchr(line->path, '/') + 1, sizeof(report->name));
        return true;
}

/* Which BAR it is shows the offset alone, which is an address of the bus (proc_bus_pci_mmap()). */
static bool find_bar_in_proc(const MapsSearch *search, const MapsLine *line, MapsReport *report) {
        PciAddress address;

        if (!device_file_parse_proc(line->path, &address) ||
            !program_is_in_proc(search->proc, line->path, line->device, line->inode))
                return false;
        report->key = pci_address_key(address);
        report->kind = USE_PROGRAM_MAPPED;
        g_strlcpy(report->name, "in /proc/bus/pci", sizeof(report->name));
        return true;
}

/* The mapping keeps the device open (vm_file), though no descriptor of it is left. */
static bool find_uio(const MapsSearch *search, pid_t thread, const MapsLine *line,
                     MapsReport *report) {
        g_autofree char *path = mapped_file(search, thread, line), *link = NULL, *target = NULL;
        struct statx st;

        if (statx(AT_FDCWD, path, AT_STATX_DONT_SYNC, STATX_TYPE, &st) < 0 || !S_ISCHR(st.stx_mode))
                return false;
        link = g_strdup_printf("/sys/dev/char/%u:%u", st.stx_rdev_major, st.stx_rdev_minor);
        if (device_path_resolve(link, &target) <= 0 || !strstr(target, "/uio/") ||
            !device_path_function(target, &report->key))
                return false;
        report->kind = USE_PROGRAM_UIO;
        g_strlcpy(report->name, strrchr(target, '/') + 1, sizeof(report->name));
        return true;
}

static bool find_mapped(const MapsSearch *search, pid_t thread, dev_t sysfs, const MapsLine *line,
                        MapsReport *report) {
        switch (device_file_parse(line->path)) {
        case DEVICE_FILE_RESOURCE:
                return find_bar(search, thread, sysfs, line, report);
        case DEVICE_FILE_UIO:
                return find_uio(search, thread, line, report);
        default:
                return find_bar_in_proc(search, line, report);
        }
}

/* A process that is read. */
typedef struct MapsProcess {
        guint index; /* in the list */
        pid_t pid;
        ProcessStatus status;
        pid_t thread; /* has its memory: `pid`, unless that has ended */
} MapsProcess;

/* All threads have the same mappings (CLONE_THREAD). */
static int open_mappings(const MapsSearch *search, const MapsProcess *process) {
        g_autofree char *path = process->thread == process->pid
                                        ? g_strdup_printf("%s/%d/maps", search->proc, process->pid)
                                        : g_strdup_printf("%s/%d/task/%d/maps", search->proc,
                                                          process->pid, process->thread);
        int fd = open(path, O_RDONLY | O_CLOEXEC);

        return fd < 0 ? -errno : fd;
}

static int read_maps(const MapsSearch *search, int channel, const MapsProcess *process, dev_t sysfs,
                     size_t max, size_t *ret_total) {
        MapsReport report = { .index = process->index, .uid = process->status.uid }, last = { 0 };
        FILE *file;
        char *line = NULL;
        size_t size = 0, total = 0;
        ssize_t n = 0;
        int fd, error;

        maps_send(channel, &report);
        fd = open_mappings(search, process);
        file = fd < 0 ? NULL : fdopen(fd, "r");
        if (!file)
                return fd < 0 ? fd : -errno;
        while (total < max && (errno = 0, n = getline(&line, &size, file)) >= 0) {
                MapsLine parsed;

                total += (size_t) n;
                if (!parse_maps_line(line, &parsed) ||
                    !find_mapped(search, process->thread, sysfs, &parsed, &report))
                        continue;
                /* A BAR that is mapped in pieces has several lines, one after the other. */
                if (report.key != last.key || strcmp(report.name, last.name) != 0)
                        maps_send(channel, &report);
                last = report;
        }
        error = n < 0 ? -errno : 0;
        free(line);
        (void) fclose(file);
        *ret_total = total;
        return error;
}

static void on_maps_compared(void *context, pid_t pid, pid_t thread) {
}

/* Of a process of a user other than root, the first threads. */
static int tell_tables(const MapsSearch *search, int channel, const MapsProcess *process) {
        MapsReport report = { .index = process->index, .uid = process->status.uid };
        unsigned max = process->status.uid == 0 ? UINT_MAX : THREADS_MAX;
        g_autoptr(ThreadTables) tables = NULL;
        int r;

        maps_send(channel, &report);
        r = thread_tables_open(search->proc, process->pid, process->thread, on_maps_compared, NULL,
                               &tables);
        for (unsigned n = 0; r >= 0 && tables && n < max; n++) {
                r = thread_tables_next(tables, 1, &report.thread);
                if (report.thread != 0)
                        maps_send(channel, &report);
                if (r == 0)
                        break;
        }
        return MIN(r, 0);
}

/* Returns 0 or a negative errno. */
static int find_process(const MapsSearch *search, guint index, MapsProcess *ret) {
        MapsProcess process = { .index = index,
                                .pid = (pid_t) g_array_index(search->pids, uint32_t, index) };
        int r = program_read_status(search->proc, (uint32_t) process.pid, &process.status);

        if (r >= 0)
                r = process_find_thread(search->proc, process.pid, &process.status,
                                        &process.thread);
        if (r >= 0)
                *ret = process;
        return r;
}

/* Whether a process of the user would make another reader wait, perhaps for ever. */
static bool is_given_up(const MapsSearch *search, uint32_t uid) {
        guint n = GPOINTER_TO_UINT(g_hash_table_lookup(search->waits, GUINT_TO_POINTER(uid)));

        return n >= WAITS_OF_USER_MAX || (uid != 0 && search->n_waits >= WAITS_MAX) ||
               stuck_children_refuse(search->stuck, uid);
}

static int read_of_user(const MapsSearch *search, MapsTally *tally, int channel,
                        const MapsProcess *process, dev_t sysfs) {
        uint32_t uid = process->status.uid;
        gpointer key = GUINT_TO_POINTER(uid);
        size_t used = GPOINTER_TO_SIZE(g_hash_table_lookup(tally->of_users, key)), n = 0;
        uint64_t left = look_share_left(&maps_share, uid, used, tally->of_all,
                                        now_usec() - tally->begun_usec);
        int r;

        if (left == 0)
                return 0;
        r = read_maps(search, channel, process, sysfs, (size_t) MIN(left, SIZE_MAX), &n);
        tally->of_all += n;
        g_hash_table_insert(tally->of_users, key, GSIZE_TO_POINTER(used + n));
        return r;
}

/* Returns 0, or a negative errno when a use by root may be missing, or by anybody for lack. */
static int read_process(const MapsSearch *search, MapsTally *tally, int channel, guint index,
                        dev_t sysfs) {
        MapsProcess process;
        uint32_t uid;
        size_t n;
        int tables, r = find_process(search, index, &process);

        if (r < 0)
                return process_has_ended(r) ? 0 : r;
        uid = process.status.uid;
        if (is_given_up(search, uid))
                return uid == 0 ? USE_PARTLY_SEEN : 0;
        tables = tell_tables(search, channel, &process);
        /* It begins threads as fast as they are listed, and hides nothing of others by that. */
        if (tables == -EOVERFLOW)
                tables = uid == 0 ? USE_PARTLY_SEEN : 0;
        else if (tables < 0 && !process_has_ended(tables) && (uid == 0 || errno_means_lack(tables)))
                return tables;
        r = uid == 0 ? read_maps(search, channel, &process, sysfs, SIZE_MAX, &n)
                     : read_of_user(search, tally, channel, &process, sysfs);
        if (process_has_ended(r) || (uid != 0 && !errno_means_lack(r)))
                r = 0;
        return tables == USE_PARTLY_SEEN ? use_result_join(tables, r) : r;
}

__attribute__((noreturn)) static void run_reader(const MapsSearch *search, int channel) {
        MapsTally tally = { .of_users = g_hash_table_new(NULL, NULL), .begun_usec = now_usec() };
        struct stat st;
        int r, error = 0;

        (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (stat(SYSFS_ROOT, &st) < 0)
                _exit(EXIT_FAILURE);
        for (guint i = search->next; i < search->pids->len; i++) {
                r = read_process(search, &tally, channel, i, st.st_dev);
                error = use_result_join(error, r);
        }
        maps_send(channel, &(MapsReport){ .is_end = true, .error = error });
        _exit(EXIT_SUCCESS);
}

/* --- the search */

static bool take_maps_report(MapsSearch *search, const MapsReport *report) {
        if (report->is_end || report->index >= search->pids->len)
                return false;
        search->next = report->index + 1;
        search->has_begun = true;
        search->uid = report->uid;
        if (report->thread != 0)
                search->handler->table(search->context,
                                       g_array_index(search->pids, uint32_t, report->index),
                                       report->thread);
        if (report->name[0] != '\0')
                search->handler->found(search->context,
                                       g_array_index(search->pids, uint32_t, report->index),
                                       report->key, (UseKind) report->kind, report->name);
        return true;
}

/* Until the reader `pid` has come to its end (0, or its error), waits for a process (-ETIMEDOUT) or
 * has failed. On a busy machine it may get no processor for long. */
static int hear_reader(MapsSearch *search, pid_t pid, int channel) {
        struct pollfd polled = { .fd = channel, .events = POLLIN };
        MapsReport report;
        ssize_t n;
        int r;

        for (;;) {
                r = poll(&polled, 1, PATIENCE_MSEC);
                if (r > 0 || process_is_running(pid))
                        search->handler->goes_on(search->context);
                if (r == 0 && process_is_running(pid))
                        continue;
                if (r <= 0)
                        return r == 0 ? -ETIMEDOUT : -errno;
                n = recv(channel, &report, sizeof(report), 0);
                if (n != sizeof(report))
                        return -ECHILD;
                if (!take_maps_report(search, &report))
                        return report.error;
        }
}

/* The wait for the memory lock can be killed (mmap_read_lock_killable()); that for a file system of
 * a user cannot (is_in_any_sysfs()). */
static void end_reader(const MapsSearch *search, pid_t pid) {
        uint64_t begun_usec = now_usec(), spent = 0;

        (void) kill(pid, SIGKILL);
        while (waitpid(pid, NULL, WNOHANG) == 0) {
                spent = now_usec() - begun_usec;
                if (spent > END_BUSY_USEC || (spent > END_USEC && !process_is_running(pid))) {
                        stuck_children_add(search->stuck, pid, search->uid);
                        return;
                }
                (void) usleep(END_STEP_USEC);
        }
}

static int run_search(MapsSearch *search) {
        _cleanup_(closep) int ours = -1, theirs = -1;
        int channel[2], r;
        pid_t pid;

        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, channel) < 0)
                return -errno;
        ours = channel[0];
        theirs = channel[1];
        pid = fork();
        if (pid < 0)
                return -errno;
        if (pid == 0)
                run_reader(search, theirs);
        closep(&theirs);
        search->has_begun = false;
        r = hear_reader(search, pid, ours);
        end_reader(search, pid);
        return r;
}

/* A reader waits for the last process that it has begun with. Returns 0, or USE_PARTLY_SEEN if that
 * is root's. */
static int note_wait(MapsSearch *search) {
        gpointer key = GUINT_TO_POINTER(search->uid);
        guint n = GPOINTER_TO_UINT(g_hash_table_lookup(search->waits, key));

        search->n_waits++;
        if (!search->has_begun)
                return 0;
        g_hash_table_insert(search->waits, key, GUINT_TO_POINTER(n + 1));
        if (search->uid != 0)
                return 0;
        search->handler->waited(search->context,
                                g_array_index(search->pids, uint32_t, search->next - 1));
        return USE_PARTLY_SEEN;
}

int program_maps_read(const char *proc, const GArray *pids, StuckChildren *stuck,
                      const ProgramMapsHandler *handler, void *context) {
        g_autoptr(GHashTable) waits = g_hash_table_new(NULL, NULL);
        MapsSearch search = { .proc = proc,
                              .pids = pids,
                              .handler = handler,
                              .context = context,
                              .stuck = stuck,
                              .waits = waits };
        int r, error = 0;

        stuck_children_reap(stuck);
        for (;;) {
                r = run_search(&search);
                if (r != -ETIMEDOUT || search.n_waits >= 2 * WAITS_MAX)
                        break;
                error = use_result_join(error, note_wait(&search));
        }
        return use_result_join(error, r);
}
