/* host-programs.h: programs of userspace that drive functions without VFIO.
 *
 * Owns the source (use-child.h): descriptors of device nodes, of BARs (resourceN in sysfs), and of
 * configuration space that is open for writing; BARs that are mapped; and packet sockets that are
 * bound to an interface. No event reports the last two and open configuration space; each look
 * finds them. */
#pragma once

#include "daemon/uses/use-child.h"

extern const UseSource host_programs;
