/* device-dma.h: whether a client without privilege may have a function do DMA.
 *
 * Owns nothing. Such a client is given what a descriptor of the device would give it, except the
 * descriptor; so what keeps a VMM from opening the function keeps this client, too (check.h). One
 * thing more: a device that does DMA can write to where MSIs go, whether it has MSIs or not.
 * Without isolation it can raise any interrupt of the host. The kernel refuses such a device to
 * VFIO unless `allow_unsafe_interrupts` is set (vfio_iommu_type1_attach_group()). That parameter is
 * for users whom the administrator trusts; it does not count here. */
#pragma once

#include "policy/msi.h"

/* Why the function with this evidence may not, a sentence for people; NULL when it may. Where
 * nothing is known of the isolation and the parameter is not set, the kernel decides. */
const char *device_dma_refusal(const MsiEvidence *evidence);
