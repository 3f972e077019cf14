#include "daemon/scan/vfio-fds.h"

#include "daemon/base/process.h"
#include "daemon/base/util.h"
#include "daemon/scan/vfio-watch.h"
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

struct VfioFds {
        int procfd, fanotify;
        bool sockets;
        DIR *dir;
        ScanProcess *process;
        dev_t dev; /* the file system of the system's /dev */
        dev_t known[KNOWN_MAX];
        unsigned n_known;
};

static VfioLink vfio_fds_read_link(int dirfd, const char *name) {
        char target[LINK_MAX_LENGTH + 1];
        ssize_t n;

        n = readlinkat(dirfd, name, target, sizeof(target));
        if (n < 0 || (size_t) n == sizeof(target))
                return VFIO_LINK_OTHER;
        target[n] = '\0';
        return vfio_link_parse(target);
}

static VfioFdinfo read_fdinfo(int procfd, const char *number) {
        char path[64], text[FDINFO_MAX];
        _cleanup_(closep) int fd = -1;
        ssize_t n;

        snprintf(path, sizeof(path), "fdinfo/%s", number);
        fd = openat(procfd, path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return (VfioFdinfo){ .path_only = true }; /* closed meanwhile */
        n = read(fd, text, sizeof(text) - 1);
        text[n > 0 ? n : 0] = '\0';
        return vfio_fdinfo_parse(text);
}

static int vfio_fds_read_node(dev_t device, VfioNode *ret) {
        char path[64], target[PATH_MAX];
        ssize_t n;

        snprintf(path, sizeof(path), "/sys/dev/char/%u:%u", major(device), minor(device));
        n = readlink(path, target, sizeof(target) - 1);
        if (n < 0)
                return -errno;
        target[n] = '\0';
        return vfio_node_parse(target, ret);
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

static void add_number(ScanProcess *process, const char *name) {
        uint64_t number;

        if (process->n_numbers < SCAN_NUMBERS_MAX && number_parse(name, 10, INT_MAX, &number) >= 0)
                process->numbers[process->n_numbers++] = (int32_t) number;
}

static bool is_known(const VfioFds *fds, dev_t node) {
        for (unsigned i = 0; i < fds->n_known; i++)
                if (fds->known[i] == node)
                        return true;
        return false;
}

/* A /dev of its own has nodes of its own, of whose opening and closing nobody tells. */
static void mark_node(const VfioFds *fds, const char *name, dev_t file_system) {
        if (fds->fanotify >= 0 && fds->dev != 0 && file_system != fds->dev)
                vfio_watch_mark_node(fds->fanotify, dirfd(fds->dir), name);
}

static void take_node(VfioFds *fds, const char *name) {
        ScanProcess *process = fds->process;
        VfioNode node = { .group = -1 };
        VfioFdinfo info;
        struct statx st;
        dev_t device;
        int r;

        /* Follows the link without opening what is behind it. */
        if (statx(dirfd(fds->dir), name, AT_STATX_DONT_SYNC, STATX_TYPE, &st) < 0 ||
            !S_ISCHR(st.stx_mode))
                return;
        device = makedev(st.stx_rdev_major, st.stx_rdev_minor);
        if (is_known(fds, device))
                return;
        info = read_fdinfo(fds->procfd, name);
        if (info.path_only)
                return;
        if (fds->n_known < KNOWN_MAX)
                fds->known[fds->n_known++] = device;
        r = vfio_fds_read_node(device, &node);
        if (r == -EINVAL)
                return; /* the container */
        if (r < 0 && info.has_function)
                (void) add_function(process, info.function);
        else if (r < 0) {
                /* Maybe a device's own, whose driver is being unbound while a process holds it.
                 * Newer kernels tell in fdinfo; else the daemon may remember the node. */
                if (process->n_nodes == SCAN_NODES_MAX)
                        return;
                process->nodes[process->n_nodes++] = device;
        } else if (node.group >= 0)
                vfio_fds_add_group(process, node.group);
        else
                (void) add_function(process, node.function);
        add_number(process, name);
        mark_node(fds, name, makedev(st.stx_dev_major, st.stx_dev_minor));
}

static void vfio_fds_take_device(VfioFds *fds, const char *name) {
        ScanProcess *process = fds->process;
        VfioFdinfo info = read_fdinfo(fds->procfd, name);

        if (info.path_only)
                return;
        if (!info.has_function)
                process->n_unnamed++;
        else if (!add_function(process, info.function))
                return; /* a copy */
        add_number(process, name);
}

int vfio_fds_open(pid_t pid, int fanotify, bool sockets, ScanProcess *process, VfioFds **ret) {
        VfioFds *fds;
        char path[32];
        struct stat st;
        int r;

        snprintf(path, sizeof(path), "/proc/%d", pid);
        fds = g_new0(VfioFds, 1);
        fds->fanotify = fanotify;
        fds->sockets = sockets;
        fds->process = process;
        if (fanotify >= 0 && stat(process_system_dev(), &st) == 0)
                fds->dev = st.st_dev;
        fds->procfd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (fds->procfd >= 0)
                fds->dir = opendir_at(fds->procfd, "fd");
        if (!fds->dir) {
                r = -errno;
                vfio_fds_free(fds);
                return r;
        }
        *ret = fds;
        return 0;
}

VfioFds *vfio_fds_free(VfioFds *fds) {
        if (!fds)
                return NULL;
        closep(&fds->procfd);
        closedirp(&fds->dir);
        g_free(fds);
        return NULL;
}

/* One tells enough of the process. */
static bool looks_at_socket(const VfioFds *fds) {
        return fds->sockets && !fds->process->pending;
}

int vfio_fds_read(VfioFds *fds, unsigned max) {
        unsigned cost = 0;

        while (cost < max) {
                const struct dirent *entry;
                VfioLink link;

                errno = 0;
                entry = readdir(fds->dir);
                if (!entry)
                        return -errno;
                cost++;
                if (entry->d_name[0] == '.')
                        continue;
                link = vfio_fds_read_link(dirfd(fds->dir), entry->d_name);
                if (link == VFIO_LINK_OTHER || (link == VFIO_LINK_SOCKET && !looks_at_socket(fds)))
                        continue;
                cost += COST_OF_VFIO;
                if (link == VFIO_LINK_SOCKET)
                        fds->process->pending = read_fdinfo(fds->procfd, entry->d_name).has_pending;
                else if (link == VFIO_LINK_NODE)
                        take_node(fds, entry->d_name);
                else
                        vfio_fds_take_device(fds, entry->d_name);
        }
        return 1;
}

bool vfio_fds_are_there(pid_t pid, const int32_t *numbers, uint32_t n_numbers) {
        char path[64];

        for (uint32_t i = 0; i < n_numbers; i++) {
                VfioLink link;

                snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, numbers[i]);
                link = vfio_fds_read_link(AT_FDCWD, path);
                if (link != VFIO_LINK_NODE && link != VFIO_LINK_DEVICE)
                        return false;
        }
        return true;
}
