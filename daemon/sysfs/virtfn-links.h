/* virtfn-links.h: the links of a PF to its VFs, virtfn0 and so on.
 *
 * Owns nothing. The lists are of VirtfnLink, by index. */
#pragma once

#include "policy/inventory.h"

/* All links of the PF whose directory is open, `*ret` NULL when there is none. `*ret_n` counts
 * those that dangle, too. A list that ended early would forget VFs, so it is read to its end or not
 * at all. Returns 0 or a negative errno. */
int virtfn_links_read(int dirfd, GArray **ret, uint16_t *ret_n);

/* Reads which links the PF has now, after some VFs have gone and those of `wanted` (PciKey) have
 * come: only the links of these, and not all that the PF has. New links have the next
 * numbers (sriov_add_vfs() in drivers/pci/iov.c adds VFs in order). Returns 0 and the links, NULL
 * for none; -EAGAIN when it is not as simple as that, or another negative errno: then all of the PF
 * is to be read. */
int virtfn_links_read_changes(const Inventory *inventory, const Function *pf, const GArray *wanted,
                              GArray **ret);

/* Whether one of the links is to the VF; `links` may be NULL. */
bool virtfn_links_have(const GArray *links, PciKey vf);
