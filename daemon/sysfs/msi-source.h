/* msi-source.h: the evidence of the host about the isolation of MSIs; see policy/msi.h.
 *
 * Owns, for each function, its IOMMU and the names of its MSIs' controllers, and for the functions
 * behind one IOMMU the two that stand for the others. Read are the function's `msi_irqs` and
 * `iommu`, `chip_name` of its interrupts and `ecap` of its IOMMU: none of that waits for a device
 * or touches it.
 *
 * No event reports MSIs as such. They come with the driver, and with VFIO's users, where the
 * guest's driver asks for them. So a function is read when it is new, with each of its events, a
 * second after its driver or its use has changed, and every five seconds while it is open and has
 * none. Events of one turn are handled together. A result of one function is reported once for the
 * others behind its IOMMU. So ten thousand functions cost what they cost one by one: only when the
 * one that stands for the others has gone is another looked for, and one that stays (no VF) is
 * preferred. */
#pragma once

#include "daemon/base/problems.h"
#include "daemon/sysfs/watch.h"
#include "policy/function.h"

#include <systemd/sd-event.h>

typedef struct MsiSource MsiSource;

/* The evidence about the function at `key` may be another now. */
typedef void MsiSourceChanged(void *context, PciKey key);

/* `watch` is borrowed. Returns 0 or a negative errno. */
int msi_source_new(sd_event *event, Watch *watch, Problems *problems, MsiSourceChanged *changed,
                   void *context, MsiSource **ret);
MsiSource *msi_source_free(MsiSource *source);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MsiSource, msi_source_free)

/* The function is new, or something of it has changed. No callback is made from within. */
void msi_source_function_changed(MsiSource *source, const Function *function);

/* The function is gone; no callback is made for it any more. */
void msi_source_function_gone(MsiSource *source, PciKey key);

/* The evidence about the function at `key`, which the caller clears; without it: nothing is
 * known but the parameters. */
void msi_source_evidence(MsiSource *source, PciKey key, MsiEvidence *ret);
