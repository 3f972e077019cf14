/* vfio-open.h: opens a function, or its VFIO device node, in a process of its own.
 *
 * Owns the process. It keeps a copy of an open device until vfio_open_free(), so that the daemon's
 * copy is never the last one: the last close resets the device, and waits for that. Opening a
 * device resets it, and may wait for whatever the kernel waits for; a group's node waits for the
 * lock that is held meanwhile. So the daemon never does either itself. A device is opened by its
 * own node and an iommufd where both exist (vfio-cdev.h), else over its group with a type 1
 * container of its own. It can do no DMA, since nothing is mapped, unless somebody asks for the
 * container and maps memory. Group and container live as long as the device's descriptor does
 * (vfio_group_use_container()). */
#pragma once

#include "daemon/broker/spawner.h"
#include "policy/function.h"

typedef struct VfioOpen VfioOpen;

/* For whom it is, for when the process hangs. */
typedef struct VfioOpenFor {
        Spawner *spawner;
        Children *children;
        PciKey key;
        uint32_t uid;
        /* The process is known, and is about to open: NULL: nobody needs to know. With the context
         * of the rest. */
        void (*begun)(void *context, pid_t pid);
} VfioOpenFor;

/* `fd` is the device's, and `container` the one that it was opened with, -1 where none was asked
 * for; the handler owns both. Or `fd` is a negative errno, and `step` says what failed, for
 * people. */
typedef void VfioOpenDone(void *context, int fd, int container, const char *step);

/* Begins. With `container` the device is opened over its group, and its container comes along.
 * `done` is called once, from the event loop, unless vfio_open_free() comes before. Returns 0 or a
 * negative errno; -EOPNOTSUPP when the function is in no IOMMU group. */
int vfio_open_start(const VfioOpenFor *whom, const Function *function, bool container,
                    VfioOpenDone *done, void *context, VfioOpen **ret);

/* The same for the node `name` below /dev/vfio, which is just opened. With `iommufd` another
 * descriptor comes along, of /dev/iommu. */
typedef void VfioNodeDone(void *context, int fd, int iommufd, const char *step);
int vfio_open_node(const VfioOpenFor *whom, const char *name, bool iommufd, VfioNodeDone *done,
                   void *context, VfioOpen **ret);

/* Opens the physical function `pf` with `token`, which is its token from then on unless a VF is
 * open (then it must be already), and closes it. `result` is 0 or a negative errno; when it is
 * called, all is closed. */
typedef void VfioImposed(void *context, int result, const char *step);
int vfio_open_impose(const VfioOpenFor *whom, const Function *pf, const VfToken *token,
                     VfioImposed *done, void *context, VfioOpen **ret);

/* Also of one that has not answered: what it opens then is closed at once. Comes after the daemon
 * has closed its copy. */
VfioOpen *vfio_open_free(VfioOpen *open);

static inline void vfio_open_freep(VfioOpen **open) {
        vfio_open_free(*open);
}
