/* kernel-events.h: the kernel's own uevents, for a process that looks at the host's uses.
 *
 * Owns nothing: a socket belongs to who opens it. udev's events would come later, and for other
 * network namespaces not at all. */
#pragma once

#include <stdbool.h>

/* Returns a socket that does not block, or a negative errno. */
int kernel_events_open(void);

/* One event: "block", "/devices/pci0000:00/0000:00:02.0/nvme/nvme0/nvme0n1", both borrowed. */
typedef void KernelEvent(void *context, const char *subsystem, const char *devpath);

/* Takes all events that are there. Returns whether some were lost. */
bool kernel_events_take(int fd, KernelEvent *event, void *context);
