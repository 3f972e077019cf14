/* host-programs.h: programs of userspace that drive functions without VFIO.
 *
 * Owns the source (use-child.h): descriptors of uio devices, of BARs (resourceN in sysfs), and of
 * configuration space that is open for writing. No event reports that the last was opened; each
 * look finds them. A BAR that stays mapped after its descriptor is closed is not seen: the list of
 * mappings waits for a lock that the process itself can hold for ever. */
#pragma once

#include "daemon/uses/use-child.h"

extern const UseSource host_programs;
