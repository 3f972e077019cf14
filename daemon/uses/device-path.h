/* device-path.h: which PCI function a device of another subsystem belongs to.
 *
 * Owns nothing. A device's directory in sysfs is below that of the function whose driver made it:
 * "/sys/devices/pci0000:00/0000:00:02.0/virtio1/block/vda/vda1". */
#pragma once

#include "policy/address.h"

#include <stdbool.h>

/* The last PCI address among the parts of `path`. False if there is none. */
bool device_path_function(const char *path, PciKey *ret);

/* Writes the path that a link leads to, without links, the caller's. Returns 1; 0 if it leads
 * nowhere; or a negative errno. */
int device_path_resolve(const char *link, char **ret);

/* Of the device that `link` in sysfs leads to. Returns 1; 0 if it belongs to no PCI function, or
 * has gone; or a negative errno. */
int device_path_find(const char *link, PciKey *ret);
