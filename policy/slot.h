/* slot.h: which functions share a hot-plug slot.
 *
 * Owns the rule. Below a PCIe root or downstream port the slot is the whole bus
 * (pciehp_unconfigure_device() in drivers/pci/hotplug/pciehp_pci.c), which an ARI device fills with
 * up to 256 functions: those above 7 have device numbers of their own (PCIe 6.0, 6.13). Elsewhere
 * it is the 8 functions of one device number (shpchp, acpiphp). On s390 each function has one. A VF
 * is in its PF's slot and has none by itself. */
#pragma once

#include "policy/inventory.h"

/* The address that /sys/bus/pci/slots shows for the slot that the function sits in, if there is
 * one. */
PciAddress slot_address(const Function *function);

/* The other functions of the same slot, but for VFs of PFs in it, which those PFs have in `vfs`:
 * borrowed Function*, by address. Never NULL; free with g_ptr_array_unref(). */
GPtrArray *slot_mates(const Inventory *inventory, const Function *function);

/* Whether it can be said what shares the slot: not while the port above is not known. */
bool slot_is_known(const Function *function);

/* Whether to switch the slot off takes nothing but the function, its VFs and what is below it.
 * False, too, while that is not known. */
bool slot_is_own(const Inventory *inventory, const Function *function);
