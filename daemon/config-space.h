/* config-space.h: what configuration space says of functions: the PASID capability.
 *
 * Owns the children that read. A read of `config` is not done by the daemon itself: while a function is being reset,
 * which VFIO does at every open and last close, readers wait in the kernel, uninterruptibly, for 100 ms to
 * a minute (pci_wait_cfg() in drivers/pci/access.c). So a short-lived child reads all functions that are to be read,
 * and what it says arrives later; one that hangs holds up the function it hangs on, and no other.
 *
 * Read is: when a function is new, when its driver or whether it is open has changed, and a second after that. For
 * that is when the enable bit changes: AMD's IOMMU driver toggles it as domains are attached and detached, the
 * last time after VFIO has opened the device (VFIO_DEVICE_ATTACH_IOMMUFD_PT); Intel's and SMMUv3's set it when the
 * device appears. VFs are not read: they have no capability of their own (PCIe 6.0, 9.3.7.14).
 *
 * Nothing is woken: a read resumes the bridge above and, from D3cold, the function (pci_config_pm_runtime_get()). A
 * function that sleeps is read in D3hot with its bridge awake, where the kernel resumes nothing, and not otherwise.
 * What cannot be read is not known, and shown as no capability, unless it was read before and nothing has happened
 * since that may have changed it; it is tried again with the function's next event.
 *
 * The first 64 bytes are everybody's, the rest is given to who had CAP_SYS_ADMIN at open; a short read is "not known".
 * Called by the manager. */
#pragma once

#include "policy/function.h"

#include <systemd/sd-event.h>

typedef struct ConfigSpace ConfigSpace;

/* `pasid` (borrowed; not present also when not known) is what was found at `key`; told whenever it was read. */
typedef void ConfigSpaceFound(void *context, PciKey key, const Pasid *pasid);

/* Returns 0 or a negative errno. */
int config_space_new(sd_event *event, ConfigSpaceFound *found, void *context, ConfigSpace **ret);
ConfigSpace *config_space_free(ConfigSpace *space);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ConfigSpace, config_space_free)

/* The function is new, or something of it has changed: asks for it to be read if that may have changed what is
 * there. Nothing is told from within. */
void config_space_function_changed(ConfigSpace *space, const Function *function);

/* The function is gone; nothing more is told of it. */
void config_space_function_gone(ConfigSpace *space, PciKey key);

/* Reads the function whose directory is at `dirfd`, now; may wait as said above. Returns 0; -EAGAIN when it
 * sleeps; -EPERM when the kernel gives 64 bytes only; what pasid_find() returns; or another negative errno. */
int config_space_read_pasid(int dirfd, Pasid *ret);
