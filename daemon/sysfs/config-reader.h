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

/* For the function whose directory is at `dirfd`. Each result is 0; -EAGAIN when it sleeps; -EPERM
 * when the kernel gives 64 bytes only; what pasid_find() or msix_find() returns; or another
 * negative errno. PASID is not looked for, and its result not written, when `ret_pasid_result` is
 * NULL. */
void config_reader_read(int dirfd, int *ret_pasid_result, Pasid *ret_pasid, int *ret_msix_result,
                        Msix *ret_msix);
