/* vf-links.h: which VF belongs to which PF.
 *
 * Pure. The inventory calls these when the links that a function shows in sysfs have changed.
 * Always holds for a PF: `vfs` has the VFs that point to it and that it lists, and those that are
 * dying, each once, in the order of their numbers; the properties of what changed are in `changes`.
 */
#pragma once

#include "policy/function.h"

/* Makes `pf->vfs` agree with the PF's links and with `functions`, which are all that are known
 * (PciKey -> Function*). */
void vf_links_update_pf(GHashTable *functions, Function *pf);

/* Ties a VF that is new, or has just shown its link, to its PF. Whether the PF lists it is looked
 * up only while the PF does not hold it, and the PF's other VFs are left alone: else a thousand
 * changes of VFs would cost a million steps. */
void vf_links_update_vf(GHashTable *functions, Function *vf);

/* The PF has the VF, with the number `index`. */
void vf_links_add(Function *pf, Function *vf, uint32_t index);

/* Unties a VF that goes on without its PF. */
void vf_links_detach(Function *vf);
