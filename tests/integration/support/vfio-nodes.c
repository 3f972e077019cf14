/* vfio-nodes.c: preloaded into vfwardend, it makes nodes in $UMOCKDEV_DIR/dev/vfio look like
 * VFIO's.
 *
 * They are character devices that anybody may open as often as they like, such as /dev/null; what
 * is missing is made up:
 *   - the system's /dev is the tests' (/proc/1/root/dev is hidden, and fanotify's marks go there);
 *   - what other tests have open is not there;
 *   - a group is open once at a time: an open through here locks it (flock());
 *   - ioctls of the process that opens for the daemon succeed; the name that a device was asked for
 * by, or the node that was bound to an iommufd, is written to the file $UMOCKDEV_DIR/vfio-opened,
 * with the VF token; where there is a file $UMOCKDEV_DIR/vfio-fails, it fails with the number in
 * that; where there is one $UMOCKDEV_DIR/vfio-bind-takes-no-token, a bind is as before Linux 6.17;
 *   - a descriptor of a file in $UMOCKDEV_DIR/vfio-device looks like one of a device that was
 * opened through its group;
 *   - a descriptor of one of these, or of a node, has in its fdinfo also the text of the file of
 * the same name in $UMOCKDEV_DIR/vfio-fdinfo, as the kernel's vfio_device_show_fdinfo() adds a
 * line;
 *   - while there is a file $UMOCKDEV_DIR/vfio-hangs, that process waits (for the file to go). */
#undef _FILE_OFFSET_BITS /* open() and open64() are two names here */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define HIDDEN    "/proc/1/root/dev"

static void bed(char *path, size_t size, const char *name) {
        snprintf(path, size, "%s/%s", getenv("UMOCKDEV_DIR"), name);
}

static bool is_opener(void) {
        char name[17] = "";

        return prctl(PR_GET_NAME, name) == 0 && strcmp(name, "vfwarden-open") == 0;
}

__attribute__((visibility("default"))) int access(const char *path, int mode) {
        static int (*next)(const char *, int);

        if (!next)
                *(void **) &next = dlsym(RTLD_NEXT, "access");
        if (strcmp(path, HIDDEN) == 0) {
                errno = ENOENT;
                return -1;
        }
        return next(path, mode);
}

__attribute__((visibility("default"))) int fanotify_mark(int fd, unsigned flags, uint64_t mask,
                                                         int dirfd, const char *path) {
        static int (*next)(int, unsigned, uint64_t, int, const char *);
        char other[4096];

        if (!next)
                *(void **) &next = dlsym(RTLD_NEXT, "fanotify_mark");
        if (path && strncmp(path, "/dev", 4) == 0) {
                bed(other, sizeof(other), path + 1);
                path = other;
        }
        return next(fd, flags, mask, dirfd, path);
}

/* What another test's process has open is none of VFIO's here, be it the same device of memory. */
__attribute__((visibility("default"))) ssize_t readlinkat(int dirfd, const char *path, char *target,
                                                          size_t size) {
        static ssize_t (*next)(int, const char *, char *, size_t);
        static const char other[] = "another test's";
        static const char device[] = "anon_inode:[vfio-device]";
        const char *root = getenv("UMOCKDEV_DIR");
        bool ours;
        ssize_t n;

        if (!next)
                *(void **) &next = dlsym(RTLD_NEXT, "readlinkat");
        n = next(dirfd, path, target, size);
        /* Of a mount in another namespace the path begins where that has its root. */
        ours = n > 0 && root && memmem(target, (size_t) n, root, strlen(root));
        if (ours && memmem(target, (size_t) n, "/vfio-device/", 13)) {
                memcpy(target, device, MIN(size, sizeof(device)));
                return (ssize_t) MIN(size, sizeof(device) - 1);
        }
        if (n <= 0 || !root || ours || !memmem(target, (size_t) n, "/dev/vfio/", 10))
                return n;
        memcpy(target, other, MIN(size, sizeof(other)));
        return (ssize_t) MIN(size, sizeof(other) - 1);
}

/* The text that the file beside "fdinfo/N" adds, or -1: for what this process looks at. */
static int open_addition(int dirfd, const char *number) {
        char link[64], target[4096], other[4096];
        ssize_t n;

        snprintf(link, sizeof(link), "/proc/self/fd/%d/fd/%s", dirfd, number);
        n = readlink(link, target, sizeof(target) - 1);
        if (n <= 0)
                return -1;
        target[n] = '\0';
        if (!getenv("UMOCKDEV_DIR") || !strstr(target, "vfio") || !strrchr(target, '/'))
                return -1;
        bed(other, sizeof(other), "vfio-fdinfo");
        strncat(other, strrchr(target, '/'), sizeof(other) - strlen(other) - 1);
        return open(other, O_RDONLY | O_CLOEXEC);
}

/* Both texts as one file; takes over the descriptors. */
static int join(int first, int second) {
        int both = memfd_create("fdinfo", MFD_CLOEXEC), fds[] = { first, second };
        char text[4096];
        ssize_t n;

        for (unsigned i = 0; i < 2; i++) {
                while ((n = read(fds[i], text, sizeof(text))) > 0)
                        (void) !write(both, text, (size_t) n);
                close(fds[i]);
        }
        (void) lseek(both, 0, SEEK_SET);
        return both;
}

static int open_at(int (*next)(int, const char *, int, ...), int dirfd, const char *path, int flags,
                   int mode) {
        int fd = next(dirfd, path, flags, mode), addition;

        if (fd < 0 || strncmp(path, "fdinfo/", 7) != 0)
                return fd;
        addition = open_addition(dirfd, path + 7);
        return addition < 0 ? fd : join(fd, addition);
}

#define OPENAT(symbol)                                                                            \
        __attribute__((visibility("default"))) int symbol(int dirfd, const char *path, int flags, \
                                                          ...) {                                  \
                static int (*next)(int, const char *, int, ...);                                  \
                va_list arguments;                                                                \
                int mode = 0;                                                                     \
                                                                                                  \
                if (!next)                                                                        \
                        *(void **) &next = dlsym(RTLD_NEXT, #symbol);                             \
                va_start(arguments, flags);                                                       \
                if (flags & (O_CREAT | O_TMPFILE))                                                \
                        mode = va_arg(arguments, int);                                            \
                va_end(arguments);                                                                \
                return open_at(next, dirfd, path, flags, mode);                                   \
        }
OPENAT(openat)
OPENAT(openat64)

static void hang(void) {
        char path[4096], event[1024];
        int watch = inotify_init1(IN_CLOEXEC);

        bed(path, sizeof(path), "vfio-hangs");
        if (inotify_add_watch(watch, path, IN_DELETE_SELF | IN_ATTRIB) >= 0)
                while (access(path, F_OK) == 0 && read(watch, event, sizeof(event)) > 0)
                        ;
        close(watch);
}

static int open_as(int (*next)(const char *, int, ...), const char *path, int flags, int mode) {
        const char *name = strncmp(path, "/dev/vfio/", 10) == 0 ? path + 10 : NULL;
        char other[4096];
        int fd;

        if (!name && strcmp(path, "/dev/iommu") != 0)
                return next(path, flags, mode);
        hang();
        bed(other, sizeof(other), path + 1);
        fd = next(other, flags, mode);
        if (fd >= 0 && name && name[strspn(name, "0123456789")] == '\0' &&
            flock(fd, LOCK_EX | LOCK_NB) < 0) {
                close(fd);
                errno = EBUSY;
                return -1;
        }
        return fd;
}

#define OPEN(symbol)                                                                          \
        __attribute__((visibility("default"))) int symbol(const char *path, int flags, ...) { \
                static int (*next)(const char *, int, ...);                                   \
                va_list arguments;                                                            \
                int mode = 0;                                                                 \
                                                                                              \
                if (!next)                                                                    \
                        *(void **) &next = dlsym(RTLD_NEXT, #symbol);                         \
                va_start(arguments, flags);                                                   \
                if (flags & (O_CREAT | O_TMPFILE))                                            \
                        mode = va_arg(arguments, int);                                        \
                va_end(arguments);                                                            \
                return open_as(next, path, flags, mode);                                      \
        }
OPEN(open)
OPEN(open64)

static int note_opened(const char *name) {
        char path[4096], text[16] = "";
        int fd;

        bed(path, sizeof(path), "vfio-fails");
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd >= 0) {
                (void) !read(fd, text, sizeof(text) - 1);
                close(fd);
                errno = (int) strtol(text, NULL, 10);
                return -1;
        }
        bed(path, sizeof(path), "vfio-opened");
        fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        dprintf(fd, "%s\n", name);
        close(fd);
        return 0;
}

static int get_device(const char *name) {
        return note_opened(name) < 0 ? -1 : open("/dev/null", O_RDWR | O_CLOEXEC);
}

/* Of the node that `fd` is of: "vfio7", or "vfio7 vf_token=UUID". */
static int note_bound(int fd, const uint8_t *uuid) {
        char link[64], path[4096], name[4096];
        ssize_t n;
        int at;

        snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        n = readlink(link, path, sizeof(path) - 1);
        if (n < 0)
                return -1;
        path[n] = '\0';
        at = snprintf(name, sizeof(name), "%s", strrchr(path, '/') + 1);
        if (uuid)
                at += snprintf(name + at, sizeof(name) - (size_t) at, " vf_token=");
        for (unsigned i = 0; uuid && i < 16; i++)
                at += snprintf(name + at, sizeof(name) - (size_t) at, "%s%02x",
                               i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", uuid[i]);
        return note_opened(name);
}

/* VFIO_DEVICE_BIND_IOMMUFD, which Debian 12's headers do not have. */
struct bind_iommufd {
        uint32_t argsz, flags;
        int32_t iommufd;
        uint32_t out_devid;
        uint64_t token_uuid_ptr;
};
#define BIND_IOMMUFD _IO(VFIO_TYPE, VFIO_BASE + 18)

static int bind_iommufd(int fd, const struct bind_iommufd *bind) {
        char path[4096];

        bed(path, sizeof(path), "vfio-bind-takes-no-token");
        if (bind->flags != 0 && access(path, F_OK) == 0) {
                errno = EINVAL;
                return -1;
        }
        return note_bound(fd,
                          bind->flags ? (const uint8_t *) (uintptr_t) bind->token_uuid_ptr : NULL);
}

static int set_feature(int fd, const struct vfio_device_feature *feature) {
        return note_bound(fd, (const uint8_t *) (feature + 1));
}

__attribute__((visibility("default"))) int ioctl(int fd, unsigned long request, ...) {
        static int (*next)(int, unsigned long, ...);
        va_list arguments;
        void *argument;

        if (!next)
                *(void **) &next = dlsym(RTLD_NEXT, "ioctl");
        va_start(arguments, request);
        argument = va_arg(arguments, void *);
        va_end(arguments);
        if (!is_opener())
                return next(fd, request, argument);
        switch (request) {
        case VFIO_GROUP_GET_STATUS:
                ((struct vfio_group_status *) argument)->flags = VFIO_GROUP_FLAGS_VIABLE;
                return 0;
        case VFIO_GROUP_GET_DEVICE_FD:
                return get_device(argument);
        case BIND_IOMMUFD:
                return bind_iommufd(fd, argument);
        case VFIO_DEVICE_FEATURE:
                return set_feature(fd, argument);
        default:
                return 0;
        }
}
