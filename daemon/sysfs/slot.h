/* slot.h: the hot-plug slots of /sys/bus/pci/slots.
 *
 * Owns nothing: no event of the pci subsystem reports slots that come and go, so they are looked up
 * at each query. */
#pragma once

#include "policy/function.h"

/* The path of the `power` file of the slot that `function` sits in. A VF sits in its PF's, but on
 * s390 each function has a slot of its own. Returns 0 with `*ret` to be freed with g_free();
 * -ENOENT when there is no such slot, or it has no such file; or another negative errno. */
int slot_find_power(const Function *function, char **ret);
