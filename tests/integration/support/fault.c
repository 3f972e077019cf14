/* fault.c: makes chosen calls of the daemon fail, for the tests.
 *
 * Preloaded before umockdev. $VFWARDEN_FAULTS names a file; while it exists, each of its lines
 * "CALL ERRNO PATTERN" makes the calls of that kind on paths that match the pattern (fnmatch(3),
 * "*" matches "/" too) fail with that number. Paths are as the daemon sees them, below /sys, links
 * of directories resolved. The kinds: open (a directory, too), readdir (after two entries),
 * readlink, read, stat, access, chmod, watch (inotify), mark (fanotify), fork. Of inotify, which
 * begins with inotify, the path is the name of the process. */

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/inotify.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
#define NEXT(function)                     \
        static __typeof__(&function) next; \
        if (!next)                         \
        *(void **) &next = dlsym(RTLD_NEXT, #function)

/* What the file says now, "" without one. By system calls: the library's functions are those that
 * fail. */
static void read_faults(char *text, size_t size) {
        const char *path = getenv("VFWARDEN_FAULTS");
        long fd = path ? syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC) : -1;
        long n = fd < 0 ? 0 : syscall(SYS_read, (int) fd, text, size - 1);

        if (fd >= 0)
                (void) syscall(SYS_close, (int) fd);
        text[n > 0 ? n : 0] = '\0';
}

/* Sets errno when the call is to fail. */
static bool fails(const char *call, const char *path) {
        char text[4096], kind[16], pattern[512], *rest = NULL;
        const char *bed = getenv("UMOCKDEV_DIR");
        int saved = errno, number;

        read_faults(text, sizeof(text));
        if (bed && strncmp(path, bed, strlen(bed)) == 0)
                path += strlen(bed);
        for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
                /* NOLINTNEXTLINE(cert-err34-c): the test's own numbers */
                if (sscanf(line, "%15s %d %511s", kind, &number, pattern) == 3 &&
                    strcmp(kind, call) == 0 && fnmatch(pattern, path, 0) == 0) {
                        errno = number;
                        return true;
                }
        errno = saved;
        return false;
}

static bool fails_at(const char *call, int dirfd, const char *name) {
        char path[8192], link[64];
        int saved = errno;
        long n;

        if (name[0] == '/' || dirfd == AT_FDCWD)
                return fails(call, name);
        snprintf(link, sizeof(link), "/proc/self/fd/%d", dirfd);
        n = syscall(SYS_readlinkat, AT_FDCWD, link, path, 4096UL);
        errno = saved;
        if (n <= 0)
                return false;
        if (name[0] != '\0' && strcmp(name, ".") != 0)
                snprintf(path + n, sizeof(path) - (size_t) n, "/%s", name);
        else
                path[n] = '\0';
        return fails(call, path);
}

EXPORT int open64(const char *path, int flags, ...) {
        NEXT(open64);
        va_list arguments;
        mode_t mode;

        va_start(arguments, flags);
        mode = va_arg(arguments, mode_t);
        va_end(arguments);
        return fails("open", path) ? -1 : next(path, flags, mode);
}

/* What open() is with _FORTIFY_SOURCE when its flags are no constant. */
int __open64_2(const char *path, int flags);

EXPORT int __open64_2(const char *path, int flags) {
        NEXT(open64);

        return fails("open", path) ? -1 : next(path, flags);
}

EXPORT int openat64(int dirfd, const char *path, int flags, ...) {
        NEXT(openat64);
        va_list arguments;
        mode_t mode;

        va_start(arguments, flags);
        mode = va_arg(arguments, mode_t);
        va_end(arguments);
        return fails_at("open", dirfd, path) ? -1 : next(dirfd, path, flags, mode);
}

EXPORT DIR *opendir(const char *path) {
        NEXT(opendir);

        return fails("open", path) ? NULL : next(path);
}

/* Of which directory the last entry was read; another may get the same address. */
static const DIR *last_read;

EXPORT struct dirent64 *readdir64(DIR *dir) {
        NEXT(readdir64);
        static unsigned n;

        n = dir == last_read ? n + 1 : 0;
        last_read = dir;
        return n >= 2 && fails_at("readdir", dirfd(dir), "") ? NULL : next(dir);
}

EXPORT int closedir(DIR *dir) {
        NEXT(closedir);

        last_read = NULL;
        return next(dir);
}

EXPORT ssize_t readlink(const char *path, char *target, size_t size) {
        NEXT(readlink);

        return fails("readlink", path) ? -1 : next(path, target, size);
}

EXPORT ssize_t readlinkat(int dirfd, const char *path, char *target, size_t size) {
        NEXT(readlinkat);

        return fails_at("readlink", dirfd, path) ? -1 : next(dirfd, path, target, size);
}

EXPORT ssize_t read(int fd, void *value, size_t size) {
        NEXT(read);

        return fails_at("read", fd, "") ? -1 : next(fd, value, size);
}

EXPORT ssize_t pread64(int fd, void *value, size_t size, off64_t offset) {
        NEXT(pread64);

        return fails_at("read", fd, "") ? -1 : next(fd, value, size, offset);
}

EXPORT int stat64(const char *path, struct stat64 *st) {
        NEXT(stat64);

        return fails("stat", path) ? -1 : next(path, st);
}

EXPORT int lstat64(const char *path, struct stat64 *st) {
        NEXT(lstat64);

        return fails("stat", path) ? -1 : next(path, st);
}

EXPORT int fstat64(int fd, struct stat64 *st) {
        NEXT(fstat64);

        return fails_at("stat", fd, "") ? -1 : next(fd, st);
}

EXPORT int access(const char *path, int mode) {
        NEXT(access);

        return fails("access", path) ? -1 : next(path, mode);
}

EXPORT int faccessat(int dirfd, const char *path, int mode, int flags) {
        NEXT(faccessat);

        return fails_at("access", dirfd, path) ? -1 : next(dirfd, path, mode, flags);
}

/* The daemon changes the mode of what a descriptor names. */
EXPORT int chmod(const char *path, mode_t mode) {
        NEXT(chmod);
        int fd;

        /* NOLINTNEXTLINE(cert-err34-c): the daemon's own path */
        if (sscanf(path, "/proc/self/fd/%d", &fd) == 1 ? fails_at("chmod", fd, "")
                                                       : fails("chmod", path))
                return -1;
        return next(path, mode);
}

EXPORT int inotify_init1(int flags) {
        NEXT(inotify_init1);
        char name[16] = "";

        (void) prctl(PR_GET_NAME, name);
        return fails("inotify", name) ? -1 : next(flags);
}

EXPORT int inotify_add_watch(int fd, const char *path, uint32_t mask) {
        NEXT(inotify_add_watch);

        return fails("watch", path) ? -1 : next(fd, path, mask);
}

EXPORT int fanotify_mark(int fd, unsigned flags, uint64_t mask, int dirfd, const char *path) {
        NEXT(fanotify_mark);

        return path && fails("mark", path) ? -1 : next(fd, flags, mask, dirfd, path);
}

EXPORT pid_t fork(void) {
        NEXT(fork);

        return fails("fork", "") ? -1 : next();
}
