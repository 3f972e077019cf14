/* msi-reader.h: reads from sysfs the evidence of MSIs' isolation, now.
 *
 * Owns nothing. Nothing here touches a device or waits for one. */
#pragma once

#include "policy/msi.h"

/* The evidence of the present MSIs of the function at `key`; its directory is at `function_fd`.
 * Returns 0, and the caller clears `*ret`, or a negative errno when that cannot be read at
 * present. */
int msi_reader_chips(MsiArchitecture architecture, PciKey key, int function_fd, MsiChips *ret);

/* What kind of IOMMU bears the name, and Intel's extended capabilities. Returns 0, or a negative
 * errno when that cannot be read at present. */
int msi_reader_iommu(const char *name, MsiIommu *ret_kind, bool *ret_has_ecap, uint64_t *ret_ecap);

/* The parameter as it is; `before` when it cannot be read at present. */
MsiUnsafe msi_reader_unsafe(MsiUnsafeModule module, MsiUnsafe before);
