/* config-space.h: what configuration space says of functions: the MSI-X and PASID capabilities, the
 * link and the serial number.
 *
 * Owns the children that read. A read of `config` is not done by the daemon itself: while a
 * function is being reset, which VFIO does at every open and last close, readers wait in the
 * kernel, uninterruptibly, for 100 ms to a minute (pci_wait_cfg() in drivers/pci/access.c). So a
 * child reads all functions that are to be read, and what it says arrives later; one that hangs
 * holds up the function it hangs on, and no other. It ends when nothing has been to read for a
 * while.
 *
 * MSI-X is read when a function is new, and once more when a VF gets another driver: only VFs can
 * be given another number of vectors. PASID is read when a function is new, when its driver or
 * whether it is open has changed, and a second after that. For that is when the enable bit changes:
 * AMD's IOMMU driver toggles it as domains are attached and detached, the last time after VFIO has
 * opened the device (VFIO_DEVICE_ATTACH_IOMMUFD_PT); Intel's and SMMUv3's set it when the device
 * appears. VFs have no PASID of their own (PCIe 6.0, 9.3.7.14).
 * Link and serial number are read when a function is new, the link also when its driver or whether
 * it is open has changed. They are not looked for in VFs.
 *
 * Nothing is woken (config-reader.h). A capability that cannot be read is unknown, and shown as
 * none, unless it was read before and nothing has happened since that may have changed it; it is
 * tried again with the function's next event. */
#pragma once

#include "daemon/base/problems.h"
#include "policy/function.h"

#include <systemd/sd-event.h>

typedef struct ConfigSpace ConfigSpace;

typedef struct ConfigSpaceHandler {
        /* `pasid` (borrowed; not present also when not known) is what was found at `key`; told
         * whenever it was read. */
        void (*pasid)(void *context, PciKey key, const Pasid *pasid);
        /* The same of MSI-X (borrowed); told when it could be read. */
        void (*msix)(void *context, PciKey key, const Msix *msix);
        void (*pcie)(void *context, PciKey key, const Pcie *pcie);
} ConfigSpaceHandler;

/* Returns 0 or a negative errno. */
int config_space_new(sd_event *event, Problems *problems, const ConfigSpaceHandler *handler,
                     void *context, ConfigSpace **ret);
ConfigSpace *config_space_free(ConfigSpace *space);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ConfigSpace, config_space_free)

/* The function is new, or something of it has changed: asks for it to be read if that may have
 * changed what is there. No callback is made from within. */
void config_space_function_changed(ConfigSpace *space, const Function *function);

/* The function is gone; no callback is made for it any more. */
void config_space_function_gone(ConfigSpace *space, PciKey key);
