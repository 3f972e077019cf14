/* block-devices.h: which functions a block device is on.
 *
 * Owns nothing. A device may be made of others (device-mapper, md, bcache: their `slaves`), be a
 * path of several controllers (NVMe's multipath), or be on a PCI function itself. */
#pragma once

#include "policy/address.h"

/* Called for each function; `name` is the device on it. */
typedef void BlockVisit(void *context, const char *name, PciKey key);

/* All functions that the device `name` ("dm-0", "sda1") is on. Returns 0, also if the device has
 * gone; or a negative errno. */
int block_device_functions(const char *name, BlockVisit *visit, void *context);

/* The name of the device with that number, the caller's. Returns 1, 0 if there is none, or a
 * negative errno. */
int block_device_by_number(unsigned major, unsigned minor, char **ret);

typedef enum BlockPathTrust {
        BLOCK_PATH_OF_ROOT,  /* any path; it may make the caller wait, for a file system that it is
                                on */
        BLOCK_PATH_OF_USERS, /* what a user of udisks can choose: a node in the host's /dev alone */
} BlockPathTrust;

/* The name of the device that is called `path` ("/dev/mapper/vg-root", "/dev/disk/by-id/...", or
 * any link) in the mount namespace of process 1. `proc` is where procfs is. Returns 1; 0 if it is
 * no block device; or a negative errno. */
int block_device_by_path(const char *proc, const char *path, BlockPathTrust trust, char **ret);

/* Calls `visit` for each disk that is on a function itself, and for each controller of NVMe
 * ("nvme0"). A partition is named by its disk, and what is made of other devices by those. Returns
 * 0 or a negative errno. */
int block_devices_named(BlockVisit *visit, void *context);

/* Calls `visit` for all devices, with the name of a device that each is a part of. */
typedef int BlockHeldVisit(void *context, const char *name, const char *holder);
int block_devices_held(BlockHeldVisit *visit, void *context);
