/* device-nodes.h: VFIO's device nodes, write-protected against new users while their function is
 * being removed.
 *
 * Owns the modes that such device nodes had before. A device node without permission bits refuses
 * processes without CAP_DAC_OVERRIDE; present users are not disturbed. Root is refused by the
 * kernel alone, which opens a group once at a time. The device node of a group that serves other
 * functions, too, stays as it is. */
#pragma once

#include "daemon/base/problems.h"
#include "policy/inventory.h"

typedef struct DeviceNodes DeviceNodes;

DeviceNodes *device_nodes_new(Problems *problems);
DeviceNodes *device_nodes_free(DeviceNodes *nodes);

/* Notes the nodes of the function, and of its VFs, as to be closed; nothing is done before
 * device_nodes_commit(), so that their modes can be written down first. Returns 0, or a negative
 * errno when one cannot be looked at: the others are noted, and the caller plans again later. */
int device_nodes_plan(DeviceNodes *nodes, const Inventory *inventory, const Function *function);
void device_nodes_commit(DeviceNodes *nodes);

/* Gives the nodes that were closed for the function at `key` their modes back, those that are still
 * there and that nobody else gave another. One that cannot be looked at or changed at present stays
 * recorded, for device_nodes_retry(). Returns whether there was any. */
bool device_nodes_open(DeviceNodes *nodes, PciKey key);

/* `records` are of StateNode, see records.h. */
void device_nodes_record(const DeviceNodes *nodes, GArray *records);

/* Opens what an earlier run closed: what goes on being taken away is closed again. */
void device_nodes_undo(DeviceNodes *nodes, const GArray *records);

/* Tries again to open what could not be opened; whether there is something left. */
void device_nodes_retry(DeviceNodes *nodes);
bool device_nodes_failing(const DeviceNodes *nodes);
