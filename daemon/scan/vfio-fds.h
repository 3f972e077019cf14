/* vfio-fds.h: the VFIO descriptors of a process, from /proc, some at a time.
 *
 * Owns the directory that is being read. Runs in the scanner only. Opens no device node: names come
 * from readlink, device numbers from statx, and the function behind a number from /sys/dev/char. A
 * path that looks like a device node may be in a file system of the process's own (FUSE), which
 * answers when it likes: AT_STATX_DONT_SYNC keeps the kernel from asking it (fuse_update_get_attr()
 * in fs/fuse/dir.c). Device nodes in a /dev of their own are marked for fanotify here as well: the
 * mark follows the path, too. Always holds: what cannot be read is a failure, and not a descriptor
 * that holds nothing. */
#pragma once

#include "daemon/scan/scan-child.h"

#include <sys/types.h>

typedef struct VfioFds VfioFds;

/* What is read: the table of the first thread, or where that has ended, of another one; and those
 * of threads that have their own. Other processes can share the first. */
typedef enum VfioFdsTables {
        VFIO_FDS_FIRST = 1 << 0,
        VFIO_FDS_OF_THREADS = 1 << 1,
        VFIO_FDS_ALL = VFIO_FDS_FIRST | VFIO_FDS_OF_THREADS,
} VfioFdsTables;

/* Returns 0, or a negative errno: -ESRCH or -ENOENT when the process has ended. `process` is the
 * one that is read; the facts of its descriptors are added. `sockets`: descriptors in sockets are
 * looked for, too. */
int vfio_fds_open(ScanChild *child, ScanProcess *process, VfioFdsTables tables, bool sockets,
                  VfioFds **ret);
VfioFds *vfio_fds_free(VfioFds *fds);

/* Reads on, at most `max` descriptors. Returns 1 when there are more, 0 at the end, or a negative
 * errno. */
int vfio_fds_read(VfioFds *fds, unsigned max);

/* Whether all of `numbers` still are descriptors of VFIO, as far as a link tells. */
bool vfio_fds_are_there(pid_t pid, const int32_t *numbers, uint32_t n_numbers);
