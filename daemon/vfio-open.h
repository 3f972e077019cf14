/* vfio-open.h: opens a function through VFIO, in a process of its own.
 *
 * Owns the process until it has answered. Opening resets the device, and may wait for whatever the kernel waits for, so
 * the daemon never does it itself. The device is opened over its group with a type 1 container of its own: it can do no DMA,
 * since nothing is ever mapped. Group and container live as long as the device's descriptor does
 * (vfio_group_use_container()). Called by sessions.h. */
#pragma once

#include "policy/function.h"

#include <systemd/sd-event.h>

typedef struct VfioOpen VfioOpen;

/* `fd` is the device's, which whoever is told owns; or it is a negative errno, and `step` says what failed, for people. */
typedef void VfioOpenDone(void *context, int fd, const char *step);

/* Begins. `done` is called once, from the event loop, unless vfio_open_free() comes before. Returns 0 or a negative
 * errno; -EOPNOTSUPP when the function is in no IOMMU group. */
int vfio_open_start(sd_event *event, const Function *function, VfioOpenDone *done, void *context,
                    VfioOpen **ret);

/* Of the process that opens. */
pid_t vfio_open_pid(const VfioOpen *open);

/* Also of one that has not answered: what it opens then is closed at once. */
VfioOpen *vfio_open_free(VfioOpen *open);
