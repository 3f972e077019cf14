/* host-storage.h: what the host does with the block devices of functions.
 *
 * Owns the source (use-child.h): file systems that are mounted, in whichever mount namespace; swap
 * space; and devices that others are made of, by device-mapper (LVM, dm-crypt, multipath), md or
 * bcache. ZFS is not seen: it shows its devices to its own tools alone. */
#pragma once

#include "daemon/uses/use-child.h"

extern const UseSource host_storage;
