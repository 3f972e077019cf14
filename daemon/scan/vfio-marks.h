/* vfio-marks.h: the device nodes in a /dev of a process's own, which fanotify watches one by one.
 *
 * Owns the fanotify descriptor for them, and a table in memory that the daemon shares with its
 * scanner. A process that has a /dev of its own names the nodes in it as it likes. So an event has
 * the node's file handle, which nobody chooses, and the table has the device number that belongs to
 * it. The scanner adds a node before it marks it, so the node is there when its event is read. Of
 * the nodes with one device number the PER_DEVICE latest are known: who may open one device cannot
 * displace the nodes of another. The events of a node that was displaced say nothing. */
#pragma once

#include "policy/vfio-holder.h"

#include <stdbool.h>
#include <sys/fanotify.h>
#include <sys/types.h>

/* With its NUL: "12", "noiommu-12", "vfio3". */
#define VFIO_NODE_NAME_MAX 32

typedef struct VfioMarks VfioMarks;

/* Returns 0, or a negative errno. */
int vfio_marks_new(VfioMarks **ret);
VfioMarks *vfio_marks_free(VfioMarks *marks);

/* The descriptor, which stays theirs. */
int vfio_marks_fd(const VfioMarks *marks);

/* The function or group behind a device number, which its entry in sysfs tells, and into `ret_name`
 * (VFIO_NODE_NAME_MAX bytes, or NULL) the name that VFIO gave it. Returns 0; -EINVAL for what is no
 * node of a function or group; or another negative errno. */
int vfio_marks_read_node(dev_t device, VfioNode *ret, char *ret_name);

/* Watches the node that `name` in `dirfd`, a directory of descriptors in /proc, leads to: the
 * character device `device`. Does not open it, but follows the path, which may hang in a file
 * system that is somebody's own: for the scanner only. A node that cannot be watched is left out.
 */
void vfio_marks_add(VfioMarks *marks, int dirfd, const char *name, dev_t device);

/* The name that VFIO gave the device of the node in an event. Returns false when it is not known.
 */
bool vfio_marks_name(const VfioMarks *marks, const struct fanotify_event_info_fid *info,
                     char ret[static VFIO_NODE_NAME_MAX]);
