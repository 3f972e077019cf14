/* device-node.h: what it is for a function that a program has a device node of it open.
 *
 * Pure. The subsystem is the kernel's word for the kind of device, as the link `subsystem` in sysfs
 * has it. */
#pragma once

#include "policy/use.h"

/* The use, or _USE_KIND_INVALID where it is none of the host's: VFIO's own nodes have users. A
 * subsystem that is not known counts as USE_PROGRAM_NODE. */
UseKind device_node_use(const char *subsystem);
