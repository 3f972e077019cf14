/* device-nodes.h: VFIO's device nodes, write-protected against new users while their function is
 * being removed.
 *
 * Owns the modes that such device nodes had before, for which functions' sake each is closed, and
 * when to try again. Always holds: a device node is write-protected only after its mode was saved,
 * so the next daemon can restore it. It stays so until no unplug needs it any more. A device node
 * without permission bits refuses processes without CAP_DAC_OVERRIDE; present users are not
 * disturbed. Root is refused by the kernel alone, which opens a group once at a time. The device
 * node of a group that serves other functions, too, stays as it is. A part: it restores at the
 * start what an earlier run changed, and a removal that goes on changes it again. */
#pragma once

#include "daemon/base/part.h"

typedef struct DeviceNodes DeviceNodes;

extern const Part device_nodes_part;

/* Closes the nodes of the function, of its VFs and of all below it, and those that come until
 * device_nodes_open(). Those that cannot be looked at are tried again. Without a saved state none
 * is closed. */
void device_nodes_close(DeviceNodes *nodes, const Function *function);

/* Gives the nodes that were closed for the function at `key`, and for no other, their modes back:
 * those that are still there and that nobody else gave another. One that cannot be looked at or
 * changed at present stays recorded and is tried again. */
void device_nodes_open(DeviceNodes *nodes, PciKey key);
