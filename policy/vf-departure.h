/* vf-departure.h: VFs that leave a locked PF by somebody who may take them.
 *
 * Owns `n_vfs_taken` and `n_vfs_switched` of a PF. A write to `sriov_numvfs` takes all VFs. One VF
 * alone goes by its own slot, which every function of s390 has (zpci_bus_remove_device()): the
 * daemon switches it off for an Unplug, or an administrator does while nothing locks it. Neither is
 * a violation of the PF's lock. Always holds: what is noted explains the next reading of the PF's
 * links, and no later one. */
#pragma once

#include "policy/function.h"

/* `vf` goes, and is what it was until now. */
void vf_departure_note(Function *vf);

/* The links of `pf` went from `before` to `now`: whether all that went was explained. Forgets what
 * was noted. */
bool vf_departures_explain(Function *pf, uint16_t before, uint16_t now);
