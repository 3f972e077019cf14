/* bounded-file.h: the content of a small file, whatever kind of file the path names.
 *
 * Owns nothing. A path can lead to a FIFO, a device, a directory or a file without end. An open of
 * a FIFO or a device can block or act on hardware. So the file is examined first (O_PATH), and only
 * a regular file is opened. */
#pragma once

#include <stddef.h>

typedef enum BoundedFileFlags {
        BOUNDED_FILE_NO_LINK = 1 << 0, /* a symbolic link is not followed but refused */
        BOUNDED_FILE_MASKABLE =
                1 << 1, /* /dev/null counts as an empty file, as systemd masks files */
} BoundedFileFlags;

/* Reads all of `path`, at most `max` bytes. `*ret` ends with a NUL after its `*ret_length` bytes,
 * which may contain others; free with g_free(). Returns 0, or a negative errno: -ENOENT nothing has
 * that name; -ENOLINK a link leads nowhere; -EISDIR; -EBADF neither file nor directory; -EFBIG more
 * than `max` bytes; or another. */
int bounded_file_read(const char *path, size_t max, BoundedFileFlags flags, char **ret,
                      size_t *ret_length);

/* What the error of bounded_file_read() means, for people. */
const char *bounded_file_error(int error);
