#include "daemon/scan/vfio-fds.h"

#include "daemon/base/process.h"
#include "daemon/base/thread-tables.h"
#include "daemon/base/util.h"
#include "policy/number.h"
#include "policy/vfio-holder.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

/* Longer names are of no interest: no VFIO device node has one. */
#define LINK_MAX_LENGTH 255
#define FDINFO_MAX      4096
/* The cost of a VFIO descriptor, in others. */
#define COST_OF_VFIO 8
/* Device numbers that were looked at: copies of one descriptor cost a statx each and no more. */
#define KNOWN_MAX 64
/* Threads that are compared between two looks at other requests, and so many of them cost what a
 * descriptor does. */
#define STEP_THREADS    256
#define THREADS_OF_COST 8

struct VfioFds {
        ScanChild *child;
        pid_t pid, thread; /* whose table is read, or was as the first */
        int procfd;
        VfioMarks *marks; /* NULL: none is marked */
        bool sockets;
        bool any;              /* descriptor was read */
        VfioFdsTables tables;  /* those that are still to be read */
        ThreadTables *threads; /* NULL: no thread but the first is looked at yet */
        DIR *dir;              /* NULL: no table is being read */
        ScanProcess *process;
        dev_t dev; /* the file system of the system's /dev */
        dev_t known[KNOWN_MAX];
        unsigned n_known;
};

/* Returns 0 or a negative errno. A longer link is none of VFIO's, also if it is too long for the
 * kernel (do_proc_readlink() in fs/proc/base.c). */
static int vfio_fds_read_link(int dirfd, const char *name, VfioLink *ret) {
        char target[LINK_MAX_LENGTH + 1];
        ssize_t n = readlinkat(dirfd, name, target, sizeof(target));

        *ret = VFIO_LINK_OTHER;
        if (n < 0 && errno != ENAMETOOLONG && !scan_child_is_end(-errno))
                return -errno;
        if (n < 0 || (size_t) n == sizeof(target))
                return 0;
        target[n] = '\0';
        *ret = vfio_link_parse(target);
        return 0;
}

/* What was closed meanwhile holds nothing. What cannot be read may hold anything. */
static int read_fdinfo(int procfd, const char *number, VfioFdinfo *ret) {
        char path[64], text[FDINFO_MAX];
        _cleanup_(closep) int fd = -1;
        ssize_t n;

        snprintf(path, sizeof(path), "fdinfo/%s", number);
        fd = openat(procfd, path, O_RDONLY | O_CLOEXEC);
        n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
        if (n < 0 && !scan_child_is_end(-errno))
                return -errno;
        *ret = (VfioFdinfo){ .path_only = true };
        if (n < 0)
                return 0;
        text[n] = '\0';
        *ret = vfio_fdinfo_parse(text);
        return 0;
}

/* A descriptor that does not fit makes the process a possible user of every open function. */
static void vfio_fds_add_group(ScanProcess *process, int32_t group) {
        for (uint32_t i = 0; i < process->n_groups; i++)
                if (process->groups[i] == group)
                        return;
        if (process->n_groups < SCAN_GROUPS_MAX)
                process->groups[process->n_groups++] = group;
        else
                process->n_unnamed++;
}

static bool add_function(ScanProcess *process, PciKey function) {
        for (uint32_t i = 0; i < process->n_functions; i++)
                if (process->functions[i] == function)
                        return false;
        if (process->n_functions < SCAN_FUNCTIONS_MAX)
                process->functions[process->n_functions++] = function;
        else
                process->n_unnamed++;
        return true;
}

/* `numbers` is of the first table alone: the same number in another is another descriptor. */
static void add_number(const VfioFds *fds, const char *name) {
        ScanProcess *process = fds->process;
        uint64_t number;

        if (fds->threads || process->n_numbers == SCAN_NUMBERS_MAX)
                process->more_numbers = true;
        else if (number_parse(name, 10, INT_MAX, &number) >= 0)
                process->numbers[process->n_numbers++] = (int32_t) number;
}

static bool is_known(const VfioFds *fds, dev_t node) {
        for (unsigned i = 0; i < fds->n_known; i++)
                if (fds->known[i] == node)
                        return true;
        return false;
}

/* A /dev of its own has nodes of its own, of whose opening and closing nobody tells. */
static void mark_node(const VfioFds *fds, const char *name, dev_t file_system, dev_t device) {
        if (fds->marks && fds->dev != 0 && file_system != fds->dev)
                vfio_marks_add(fds->marks, dirfd(fds->dir), name, device);
}

static int take_node(VfioFds *fds, const char *name) {
        ScanProcess *process = fds->process;
        VfioNode node = { .group = -1 };
        VfioFdinfo info = { 0 };
        struct statx st;
        dev_t device;
        int r;

        /* Follows the link without opening what is behind it. */
        if (statx(dirfd(fds->dir), name, AT_STATX_DONT_SYNC, STATX_TYPE, &st) < 0)
                return errno == ENOMEM ? -errno : 0;
        if (!S_ISCHR(st.stx_mode))
                return 0;
        device = makedev(st.stx_rdev_major, st.stx_rdev_minor);
        if (is_known(fds, device))
                return 0;
        r = read_fdinfo(fds->procfd, name, &info);
        if (r < 0 || info.path_only)
                return r;
        if (fds->n_known < KNOWN_MAX)
                fds->known[fds->n_known++] = device;
        r = vfio_marks_read_node(device, &node, NULL);
        if (r == -EINVAL)
                return 0; /* the container */
        if (r < 0 && info.has_function)
                (void) add_function(process, info.function);
        else if (r < 0) {
                /* Maybe a device's own, whose driver is being unbound while a process holds it.
                 * Newer kernels tell in fdinfo; else the daemon may remember the node. */
                if (process->n_nodes == SCAN_NODES_MAX)
                        return 0;
                process->nodes[process->n_nodes++] = device;
        } else if (node.group >= 0)
                vfio_fds_add_group(process, node.group);
        else
                (void) add_function(process, node.function);
        add_number(fds, name);
        mark_node(fds, name, makedev(st.stx_dev_major, st.stx_dev_minor), device);
        return 0;
}

static int vfio_fds_take_device(VfioFds *fds, const char *name) {
        ScanProcess *process = fds->process;
        VfioFdinfo info = { 0 };
        int r = read_fdinfo(fds->procfd, name, &info);

        if (r < 0 || info.path_only)
                return r;
        if (!info.has_function)
                process->n_unnamed++;
        else if (!add_function(process, info.function))
                return 0; /* a copy */
        add_number(fds, name);
        return 0;
}

static int take_socket(const VfioFds *fds, const char *name) {
        VfioFdinfo info = { 0 };
        int r = read_fdinfo(fds->procfd, name, &info);

        if (r >= 0)
                fds->process->pending = info.has_pending;
        return r;
}

static void close_table(VfioFds *fds) {
        closep(&fds->procfd);
        closedirp(&fds->dir);
        fds->dir = NULL;
}

/* Reads on in `path`, "/proc/PID" or that of a thread. */
static int open_table(VfioFds *fds, const char *path) {
        close_table(fds);
        fds->procfd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (fds->procfd >= 0)
                fds->dir = opendir_at(fds->procfd, "fd");
        return fds->dir ? 0 : -errno;
}

static int open_thread(VfioFds *fds, pid_t thread) {
        g_autofree char *path = g_strdup_printf("/proc/%d/task/%d", fds->pid, thread);

        return open_table(fds, path);
}

int vfio_fds_open(ScanChild *child, ScanProcess *process, VfioFdsTables tables, bool sockets,
                  VfioFds **ret) {
        VfioFds *fds;
        char path[32];
        struct stat st;
        int r = 0;

        snprintf(path, sizeof(path), "/proc/%d", process->pid);
        fds = g_new0(VfioFds, 1);
        fds->child = child;
        fds->pid = fds->thread = process->pid;
        fds->procfd = -1;
        fds->marks = child->marks;
        fds->sockets = sockets;
        fds->tables = tables;
        fds->process = process;
        if (fds->marks && stat(process_system_dev(), &st) == 0)
                fds->dev = st.st_dev;
        if (tables & VFIO_FDS_FIRST)
                r = open_table(fds, path);
        if (r < 0) {
                vfio_fds_free(fds);
                return r;
        }
        *ret = fds;
        return 0;
}

VfioFds *vfio_fds_free(VfioFds *fds) {
        if (!fds)
                return NULL;
        close_table(fds);
        thread_tables_free(fds->threads);
        g_free(fds);
        return NULL;
}

/* One tells enough of the process. */
static bool looks_at_socket(const VfioFds *fds) {
        return fds->sockets && !fds->process->pending;
}

/* Returns its cost, or a negative errno. */
static int take_descriptor(VfioFds *fds, const char *name) {
        VfioLink link;
        int r = vfio_fds_read_link(dirfd(fds->dir), name, &link);

        if (r < 0)
                return r;
        fds->any = true;
        if (link == VFIO_LINK_OTHER || (link == VFIO_LINK_SOCKET && !looks_at_socket(fds)))
                return 1;
        if (link == VFIO_LINK_SOCKET)
                r = take_socket(fds, name);
        else if (link == VFIO_LINK_NODE)
                r = take_node(fds, name);
        else
                r = vfio_fds_take_device(fds, name);
        return r < 0 ? r : 1 + COST_OF_VFIO;
}

/* The first thread, whose descriptors are those of /proc/PID, may have ended. It has none then, and
 * other threads go on with all of them. Returns 1 if there is another one to read, 0 if not, or a
 * negative errno. */
static int find_live_thread(VfioFds *fds) {
        pid_t thread;
        int r;

        if (fds->any)
                return 0;
        fds->any = true;
        r = process_find_live_thread(fds->pid, &thread);
        if (r < 0 || thread == fds->pid)
                return scan_child_is_end(r) ? 0 : r;
        fds->thread = thread;
        return 1;
}

static void on_threads_compared(void *context, pid_t pid, pid_t thread) {
        const VfioFds *fds = context;

        scan_child_at_both(fds->child, pid, thread);
}

/* Threads of one process are compared though one hung at others of its user: without, the common
 * table would be read once for each thread. Returns whether there are other threads, or a negative
 * errno. */
static int begin_threads(VfioFds *fds) {
        bool compare = !(scan_child_hung_at(fds->child, fds->pid) & SCAN_AVOID_COMPARING);
        int r = fds->tables & VFIO_FDS_FIRST ? 0 : find_live_thread(fds);

        if (r < 0 || !(fds->tables & VFIO_FDS_OF_THREADS))
                return r;
        r = thread_tables_open("/proc", fds->pid, fds->thread, compare ? on_threads_compared : NULL,
                               fds, &fds->threads);
        return r < 0 ? r : fds->threads != NULL;
}

/* Returns 1, for there may be more to read, or a negative errno. */
static int end_table(VfioFds *fds) {
        int r = fds->threads ? 0 : find_live_thread(fds);

        close_table(fds);
        if (r > 0)
                r = open_thread(fds, fds->thread);
        return r < 0 && !scan_child_is_end(r) ? r : 1;
}

/* Between two tables of threads. Returns its cost, 0 when there is no more, or a negative errno. */
static int next_thread(VfioFds *fds) {
        pid_t thread;
        int r = thread_tables_next(fds->threads, STEP_THREADS, &thread);

        scan_child_at(fds->child, fds->pid);
        if (r > 0 && thread != 0)
                r = open_thread(fds, thread);
        if (r < 0 && !scan_child_is_end(r))
                return r;
        return r == 0 && thread == 0 ? 0 : STEP_THREADS / THREADS_OF_COST;
}

/* Returns its cost, 0 when there is no more, or a negative errno. */
static int vfio_fds_read_one(VfioFds *fds) {
        const struct dirent *entry;

        if (!fds->dir)
                return fds->threads ? next_thread(fds) : begin_threads(fds);
        errno = 0;
        entry = readdir(fds->dir);
        if (!entry && errno != 0 && !(fds->threads && scan_child_is_end(-errno)))
                return -errno;
        if (!entry)
                return end_table(fds);
        return entry->d_name[0] == '.' ? 1 : take_descriptor(fds, entry->d_name);
}

int vfio_fds_read(VfioFds *fds, unsigned max) {
        unsigned cost = 0;

        while (cost < max) {
                int r = vfio_fds_read_one(fds);

                if (r <= 0)
                        return r;
                cost += (unsigned) r;
        }
        return 1;
}

bool vfio_fds_are_there(pid_t pid, const int32_t *numbers, uint32_t n_numbers) {
        char path[64];

        for (uint32_t i = 0; i < n_numbers; i++) {
                VfioLink link;

                snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, numbers[i]);
                if (vfio_fds_read_link(AT_FDCWD, path, &link) < 0)
                        return false;
                if (link != VFIO_LINK_NODE && link != VFIO_LINK_DEVICE)
                        return false;
        }
        return true;
}
