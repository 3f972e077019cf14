/* sysfs.h: reading attributes of PCI functions under /sys/bus/pci.
 *
 * Owns the paths. Everything is read relative to a directory's descriptor, so that all answers are
 * of one device, even when another takes its address meanwhile. The link in /sys/bus/pci/devices is
 * the proof that a device exists: the kernel takes it away before it sends `remove`
 * (bus_remove_device() in device_del()). */
#pragma once

#include "policy/address.h"

#include <glib.h>
#include <stdint.h>
#include <sys/types.h>

#define SYSFS_PCI_DEVICES "/sys/bus/pci/devices"
#define SYSFS_PCI_SLOTS   "/sys/bus/pci/slots"

/* No attribute that is read here is longer: driver_override is a page at the most. */
#define SYSFS_VALUE_MAX 4096

/* The path of `name` of the function, or of its directory when `name` is NULL. Free with
 * g_free(). */
char *sysfs_function_path(PciAddress address, const char *name);

/* Opens the function's directory for the calls below. Returns a descriptor that the caller closes,
 * or -ENOENT when there is no such function, or another negative errno. */
int sysfs_open_function(PciAddress address);

/* Lists the functions that there are: a new array of PciKey with 0. Returns a negative errno when
 * the list cannot be read to its end. */
int sysfs_list_functions(GArray **ret);

/* Reads the attribute `name` (not a directory's, not a link) into `value`, NUL-terminated and
 * without its final newline. Returns the length, or a negative errno: -ENOENT when the function has
 * no such attribute, -ENODEV and others when the device is just going, -EFBIG when it does not
 * fit. */
ssize_t sysfs_read(int dirfd, const char *name, char *value, size_t size);

/* Tells one binding of a driver from the next, be it the same driver: by the inode of the
 * function's `driver` link, which is made anew each time (sysfs gives no inode number twice).
 * Returns 0, with
 * `*ret` 0 while there is no driver, or a negative errno when the link cannot be looked at. */
int sysfs_read_binding(PciAddress address, uint64_t *ret);

/* Reads the last part of what the link `name` points to, e.g. the driver's name. Same errors. */
ssize_t sysfs_read_link(int dirfd, const char *name, char *value, size_t size);
