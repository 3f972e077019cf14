#include "daemon/base/files/bounded-file.h"

#include "daemon/base/util.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define DEV_NULL     makedev(1, 3) /* Documentation/admin-guide/devices.txt */
#define READ_AT_ONCE (64 * 1024)

/* An O_PATH descriptor, or a negative errno. */
static int open_path(const char *path, BoundedFileFlags flags) {
        bool follow = !(flags & BOUNDED_FILE_NO_LINK);
        struct stat st;
        int fd, error;

        fd = open(path, O_PATH | O_CLOEXEC | (follow ? 0 : O_NOFOLLOW));
        error = errno;
        if (fd >= 0)
                return fd;
        return error == ENOENT && lstat(path, &st) == 0 ? -ENOLINK : -error;
}

/* Reads up to `max` bytes and notices one more. */
static int bounded_file_read_all(int fd, size_t max, GString *content) {
        for (;;) {
                size_t before = content->len;
                ssize_t n;

                g_string_set_size(content, before + READ_AT_ONCE);
                n = read(fd, content->str + before, READ_AT_ONCE);
                g_string_set_size(content, before + (n > 0 ? (size_t) n : 0));
                if (n < 0 && errno != EINTR)
                        return -errno;
                if (n == 0)
                        return 0;
                if (content->len > max)
                        return -EFBIG;
        }
}

int bounded_file_read(const char *path, size_t max, BoundedFileFlags flags, char **ret,
                      size_t *ret_length) {
        _cleanup_(closep) int node = open_path(path, flags), fd = -1;
        char by_fd[sizeof("/proc/self/fd/") + 11];
        g_autoptr(GString) content = NULL;
        struct stat st;
        int r;

        if (node < 0)
                return node;
        if (fstat(node, &st) < 0)
                return -errno;
        content = g_string_new(NULL);
        if ((flags & BOUNDED_FILE_MASKABLE) && S_ISCHR(st.st_mode) && st.st_rdev == DEV_NULL) {
                *ret_length = 0;
                *ret = g_string_free(g_steal_pointer(&content), FALSE);
                return 0;
        }
        if (!S_ISREG(st.st_mode))
                return S_ISDIR(st.st_mode) ? -EISDIR : -EBADF;
        if (st.st_size > 0 && (uint64_t) st.st_size > max)
                return -EFBIG;

        /* The very node that was looked at. */
        snprintf(by_fd, sizeof(by_fd), "/proc/self/fd/%d", node);
        fd = open(by_fd, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        if (fd < 0)
                return -errno;
        r = bounded_file_read_all(fd, max, content);
        if (r < 0)
                return r;
        *ret_length = content->len;
        *ret = g_string_free(g_steal_pointer(&content), FALSE);
        return 0;
}

const char *bounded_file_error(int error) {
        switch (error) {
        case -ENOLINK:
                return "a symbolic link that leads nowhere";
        case -EISDIR:
                return "a directory, not a file";
        case -EBADF:
                return "not a regular file";
        case -EFBIG:
                return "too large";
        default:
                return g_strerror(-error);
        }
}
