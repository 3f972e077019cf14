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

#include "daemon/scan/scan.h"

#include <sys/types.h>

typedef struct VfioFds VfioFds;

/* Where the first thread of the process has ended, its descriptors are those of another thread.
 * Returns 0, or a negative errno: -ESRCH or -ENOENT when the process has ended. `process` is what
 * is read; it gets the facts of its descriptors. `fanotify`: -1, or where nodes in another /dev are
 * marked. `sockets`: descriptors in sockets are looked for, too. */
int vfio_fds_open(pid_t pid, int fanotify, bool sockets, ScanProcess *process, VfioFds **ret);
VfioFds *vfio_fds_free(VfioFds *fds);

/* Reads on, at most `max` descriptors. Returns 1 when there are more, 0 at the end, or a negative
 * errno. */
int vfio_fds_read(VfioFds *fds, unsigned max);

/* Whether all of `numbers` still are descriptors of VFIO, as far as a link tells. */
bool vfio_fds_are_there(pid_t pid, const int32_t *numbers, uint32_t n_numbers);
