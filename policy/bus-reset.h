/* bus-reset.h: resets that reach more than one function.
 *
 * Owns the rule of how far a reset reaches. The kernel resets a function by the first method in
 * `reset_method` that works. "bus" resets the whole bus, so `reset` does it only for a function
 * that is alone there (pci_parent_bus_reset(), pci_dev_reset_slot_function()); VFIO's hot reset
 * (vfio_pci_ioctl_pci_hot_reset()) does it for all functions of the bus. */
#pragma once

#include "policy/inventory.h"

/* What `methods`, the text of `reset_method`, says of the first of them. */
ResetScope reset_scope_parse(const char *methods);

/* The other functions that a reset of the function's bus resets, without VFs and without what is
 * below them: borrowed Function* by address. NULL when there is none, and for a VF, whose bus
 * nothing resets for its sake; else free with g_ptr_array_unref(). */
GPtrArray *bus_reset_members(const Inventory *inventory, const Function *function);
