/* vfio-fds.h: which descriptors of VFIO a process has, from /proc.
 *
 * Owns nothing. Opens no node of VFIO: names are read with readlink, device numbers with stat, and who
 * is behind a number from /sys/dev/char. Called by users.h. */
#pragma once

#include "policy/vfio-holder.h"

#include <stdbool.h>
#include <sys/types.h>

typedef struct VfioFds {
        VfioHolder has;
        GArray *numbers; /* of int: the descriptors in question */
} VfioFds;

void vfio_fds_init(VfioFds *fds);
void vfio_fds_clear(VfioFds *fds);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(VfioFds, vfio_fds_clear)

/* The function behind a device's own node when /sys has no longer an entry for it, since its driver is being
 * unbound while somebody holds it. Returns whether it is known. */
typedef bool VfioFdsKnownNode(void *context, dev_t node, PciKey *ret);

/* Reads the descriptors of the process whose directory in /proc is `procfd` into `fds`, which is empty.
 * Returns 0, or a negative errno: -ESRCH or -ENOENT when it has ended, -EACCES or -EPERM when it may not be
 * looked at. */
int vfio_fds_read(int procfd, VfioFdsKnownNode *known, void *context, VfioFds *fds);

/* Whether all of the descriptors still are what they were, as far as a link tells. Cheap. */
bool vfio_fds_are_there(int procfd, const VfioFds *fds);

/* Whether the descriptor `a` of process `pid_a` and `b` of `pid_b` are one open device: passed on, or inherited. */
bool vfio_fds_same_file(pid_t pid_a, int a, pid_t pid_b, int b);
