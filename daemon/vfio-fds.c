#include "daemon/vfio-fds.h"

#include "daemon/util.h"
#include "policy/number.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/kcmp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

/* Longer names are of no interest: no node of VFIO has one. */
#define LINK_MAX_LENGTH 255
#define FDINFO_MAX      4096

void vfio_fds_init(VfioFds *fds) {
        vfio_holder_init(&fds->has);
        fds->numbers = g_array_new(FALSE, FALSE, sizeof(int));
}

void vfio_fds_clear(VfioFds *fds) {
        vfio_holder_clear(&fds->has);
        g_clear_pointer(&fds->numbers, g_array_unref);
}

static VfioLink read_link(int dirfd, const char *name) {
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

static int read_node(dev_t device, VfioNode *ret) {
        char path[64], target[PATH_MAX];
        ssize_t n;

        snprintf(path, sizeof(path), "/sys/dev/char/%u:%u", major(device), minor(device));
        n = readlink(path, target, sizeof(target) - 1);
        if (n < 0)
                return -errno;
        target[n] = '\0';
        return vfio_node_parse(target, ret);
}

typedef struct Reading {
        int procfd, dirfd;
        VfioFdsKnownNode *known;
        void *context;
        VfioFds *fds;
} Reading;

static void take(const Reading *reading, const char *name) {
        VfioHolder *has = &reading->fds->has;
        VfioNode node = { .group = -1 };
        VfioLink link = read_link(reading->dirfd, name);
        VfioFdinfo info;
        struct stat st;
        uint64_t number;

        if (link == VFIO_LINK_OTHER || number_parse(name, 10, INT_MAX, &number) < 0)
                return;
        /* Follows the link without opening what is behind it. */
        if (link == VFIO_LINK_NODE &&
            (fstatat(reading->dirfd, name, &st, 0) < 0 || !S_ISCHR(st.st_mode) ||
             (read_node(st.st_rdev, &node) < 0 &&
              !reading->known(reading->context, st.st_rdev, &node.function))))
                return;
        info = read_fdinfo(reading->procfd, name);
        if (info.path_only)
                return;

        if (link == VFIO_LINK_NODE && node.group >= 0)
                vfio_groups_add(has->groups, node.group);
        else if (link == VFIO_LINK_NODE)
                g_array_append_val(has->functions, node.function);
        else if (info.has_function)
                g_array_append_val(has->functions, info.function);
        else
                has->n_unnamed++;
        g_array_append_val(reading->fds->numbers, (int){ (int) number });
}

int vfio_fds_read(int procfd, VfioFdsKnownNode *known, void *context, VfioFds *fds) {
        _cleanup_(closedirp) DIR *dir = opendir_at(procfd, "fd");
        Reading reading = { .procfd = procfd, .known = known, .context = context, .fds = fds };
        const struct dirent *entry;

        if (!dir)
                return -errno;
        reading.dirfd = dirfd(dir);
        while ((entry = readdir(dir)))
                if (entry->d_name[0] != '.')
                        take(&reading, entry->d_name);
        return 0;
}

bool vfio_fds_are_there(int procfd, const VfioFds *fds) {
        for (guint i = 0; i < fds->numbers->len; i++) {
                char path[32];

                snprintf(path, sizeof(path), "fd/%d", g_array_index(fds->numbers, int, i));
                if (read_link(procfd, path) == VFIO_LINK_OTHER)
                        return false;
        }
        return true;
}

bool vfio_fds_same_file(pid_t pid_a, int a, pid_t pid_b, int b) {
        return syscall(SYS_kcmp, pid_a, pid_b, KCMP_FILE, a, b) == 0;
}
