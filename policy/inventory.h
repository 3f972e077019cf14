/* inventory.h: what is known of all PCI functions and of the links between them.
 *
 * Owns every Function. Always holds: a VF whose PF is known points to it. The PF's `vfs` has the
 * known functions that its links name, and those that they named before and that still exist, in
 * the order of their numbers. Each function is linked with its parent (topology.h). `changes` of
 * each function has the bit of every property that differs from before. Nothing here reads or
 * decides. The manager is the only writer. */
#pragma once

#include "policy/function.h"
#include "policy/use.h"

typedef struct Inventory Inventory;

Inventory *inventory_new(void);
void inventory_free(Inventory *inventory);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Inventory, inventory_free)

unsigned inventory_count(const Inventory *inventory);

/* The function at `key`, or NULL. Borrowed. */
Function *inventory_get(const Inventory *inventory, PciKey key);

/* The same if it is still the device that had `inode` (FunctionFacts.inode), and not one that was
 * plugged anew under the address; else NULL. */
Function *inventory_get_device(const Inventory *inventory, PciKey key, uint64_t inode);

/* Takes over what `facts` holds (and clears it) as the new truth about `facts->key`, makes the
 * function if there was none, and mends the links. Returns the function, borrowed. The caller sees
 * to it that a device made anew under the old address (another inode) was removed first. */
Function *inventory_apply(Inventory *inventory, FunctionFacts *facts);

/* Makes a function without links what an earlier run knew: the VF number `index` of `physfn`, which
 * the kernel is taking away. Without effect once it has a link or a PF; it is linked when the PF is
 * known. */
void inventory_restore_vf(Inventory *inventory, Function *vf, PciKey physfn, uint32_t index);

/* `virtfns` (VirtfnLink by index, NULL for none; taken over) are all links of the PF now, of which
 * none dangles. Its other facts stay. */
void inventory_set_virtfns(Inventory *inventory, Function *pf, GArray *virtfns);

/* `value` is what the function's driver_override says now. */
void inventory_set_driver_override(Function *function, const char *value);

/* Forgets the function; its links go, the functions it was linked with stay. */
void inventory_remove(Inventory *inventory, Function *function);

/* Takes over `users` (of User*, may be NULL) as those who have the function open. */
void inventory_set_users(Inventory *inventory, Function *function, GPtrArray *users);

/* Takes over `uses` (of Use*, NULL: none) as what the host does with the function. */
void inventory_set_uses(Function *function, GPtrArray *uses);

/* Takes over `names` (NULL: none) as what the host calls the function's devices. */
void inventory_set_names(Function *function, DeviceNames *names);

/* What is known of the uses of all functions; USES_KNOWN of a new inventory. With USES_UNREADABLE
 * and USES_UNREADABLE_OF_ALL `text` says what cannot be looked at, a clause; else it is NULL. */
void inventory_set_uses_known(Inventory *inventory, UsesKnown known, const char *text);
UsesKnown inventory_uses_known(const Inventory *inventory, const char **ret_text);

/* Takes over what was read of the function's PASID capability: its own facts hold it, and say
 * nothing of it. */
void inventory_set_pasid(Inventory *inventory, Function *function, const Pasid *pasid);

/* Takes over what was read of the function's MSI-X capability, as above. */
void inventory_set_msix(Function *function, const Msix *msix);

/* Takes over what was read of the function's link and serial number. */
void inventory_set_pcie(Function *function, const Pcie *pcie);

/* Takes over `evidence` (what it holds, and clears it) of a function that has MSI-X. */
void inventory_set_msi(Function *function, MsiEvidence *evidence);

/* The functions of an IOMMU group: borrowed Function*, NULL when the group is -1 or unknown. */
const GPtrArray *inventory_group(const Inventory *inventory, int32_t group);

/* All functions by address; free with g_ptr_array_unref(), the functions are borrowed. */
GPtrArray *inventory_sorted(const Inventory *inventory);

/* for (every function, in no order). Nothing may be added or removed meanwhile. */
#define inventory_foreach(inventory, function)                                                  \
        for (GHashTableIter _iter, *_once = (inventory_iter_init((inventory), &_iter), &_iter); \
             g_hash_table_iter_next(_once, NULL, (gpointer *) &(function));)
void inventory_iter_init(const Inventory *inventory, GHashTableIter *iter);
