/* config-reader.h: reads capabilities of one function from its configuration space, now.
 *
 * Owns nothing. A read may wait, see config-space.h, whose children are the callers.
 *
 * Nothing is woken: a read resumes the bridge above and, from D3cold, the function
 * (pci_config_pm_runtime_get()). A function that sleeps is read in D3hot or above with its bridge
 * awake, where the kernel resumes nothing, and not otherwise. The first 64 bytes are everybody's,
 * the rest is given to who had CAP_SYS_ADMIN at open; a short read is "not known". */
#pragma once

#include "policy/msix.h"
#include "policy/pasid.h"
#include "policy/pcie.h"

/* Each result is 0; -EAGAIN when the function sleeps; -EPERM when the kernel gives 64 bytes only;
 * what pasid_find(), msix_find() or pcie_find() returns; or another negative errno. */
typedef struct ConfigReading {
        int32_t pasid_result, msix_result, pcie_result;
        Pasid pasid;
        Msix msix;
        Pcie pcie;
} ConfigReading;

/* Reads of the function whose directory is at `dirfd`. Of a VF only MSI-X is looked for; the rest
 * of
 * `*ret` is 0. */
void config_reader_read(int dirfd, bool is_vf, ConfigReading *ret);
