/* msi-reader.h: reads from sysfs what tells of MSIs' isolation, now.
 *
 * Owns nothing. Nothing here touches a device or waits for one. Called by the source of that evidence. */
#pragma once

#include "policy/msi.h"

/* What the MSIs that the function at `key` has now say; its directory is at `function_fd`. The caller clears `*ret`. */
void msi_reader_chips(MsiArchitecture architecture, PciKey key, int function_fd, MsiChips *ret);

/* What kind of IOMMU bears the name; Intel's extended capabilities if they can be read. */
MsiIommu msi_reader_iommu(const char *name, bool *ret_has_ecap, uint64_t *ret_ecap);

/* The parameter as it is. */
MsiUnsafe msi_reader_unsafe(MsiUnsafeModule module);
