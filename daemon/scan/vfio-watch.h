/* vfio-watch.h: reports at once when a VFIO device node is opened or closed, by fanotify.
 *
 * Owns two fanotify descriptors. The first one watches /dev/vfio and /dev/vfio/devices, and /dev
 * for their coming: they exist only while VFIO has something to show. Without CAP_SYS_ADMIN no pid
 * is reported. With FAN_REPORT_FID the kernel hands over names; without, it would open the node for
 * the listener, and a group can be opened only once. An event is a reason to look, not a fact:
 * events of one process on one node are merged while they are not read, and come in the place of
 * the first of them (fanotify_merge()). So an open that is read before a close may have come after
 * it.
 *
 * The file behind a group's node lives until the last device that was opened through it is closed:
 * a device has a reference to it (vfio_group_use_container()). So the close of the group is
 * reported when the last user of the last device closes it, whatever was closed before (seen on
 * 6.12). The close of a device's own node is reported just before the device is closed.
 *
 * A mount namespace with a /dev of its own (libvirt makes one for each machine) has other device
 * nodes, of which nothing is reported until they are marked one by one. The second descriptor is
 * theirs (vfio-marks.h): a name in that /dev is whatever its owner likes, and must not pass for one
 * of the system's. */
#pragma once

#include "daemon/scan/vfio-marks.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

typedef struct VfioWatch VfioWatch;

typedef struct VfioWatchHandler {
        /* The node `name` is new. */
        void (*created)(void *context, const char *name);
        /* `pid` (0: it is not told) opened the node `name`; it may not have it yet, or not any
         * more. */
        void (*opened)(void *context, pid_t pid, const char *name);
        /* `name` ("12", "vfio3") was closed by its last holder. `again`: it was also opened since
         * the last events were read, perhaps later than it was closed. */
        void (*closed)(void *context, const char *name, bool again);
        /* Events were lost. */
        void (*overrun)(void *context);
} VfioWatchHandler;

/* Returns 0, or a negative errno. */
int vfio_watch_new(sd_event *event, const VfioWatchHandler *handler, void *context,
                   VfioWatch **ret);
VfioWatch *vfio_watch_free(VfioWatch *watch);

/* The nodes that are marked one by one, for the scanner; stay the watch's. */
VfioMarks *vfio_watch_marks(const VfioWatch *watch);

/* Hands over the events so far, without waiting for the event loop. */
void vfio_watch_drain(VfioWatch *watch);
