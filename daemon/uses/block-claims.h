/* block-claims.h: block devices that the kernel itself reads and writes, where sysfs names no
 * holder.
 *
 * Owns the table of the places that tell: a loop device on a disk, targets that serve a disk to
 * others by NVMe over a network or by SCSI, and disks of ZFS. */
#pragma once

typedef int BlockClaimVisit(void *context, const char *device, const char *by);

/* Calls `visit` with the name of each such device, "nvme0n1", and for what it is used. `proc` is
 * where procfs is. Returns 0, or a negative errno. */
int block_claims(const char *proc, BlockClaimVisit *visit, void *context);
