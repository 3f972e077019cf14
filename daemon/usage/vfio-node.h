/* vfio-node.h: the VFIO device nodes by which a function can be opened.
 *
 * Owns nothing, and opens none of them. Always holds: a node that cannot be looked at is an error,
 * and not absent, because the group is chosen where the device has no node of its own. */
#pragma once

#include "policy/function.h"
#include "policy/lease.h"

/* Whether `name` can be that of a node below /dev/vfio: of a group, "12", or of a device,
 * "devices/vfio3". */
bool vfio_node_is_name(const char *name);

/* The name below /dev/vfio of the function's own node ("devices/vfio3"), or of its group's ("12"),
 * if it is there. Returns 0, with `*ret` NULL when there is none, free with g_free(); or a negative
 * errno. */
int vfio_node_of_device(const Function *function, char **ret);
int vfio_node_of_group(const Function *function, char **ret);

/* By which of them the function is opened, for a client or for vfwarden itself, where `wanted` is
 * wanted, or any kind (_LEASE_KIND_INVALID); see lease_choose_kind(). Returns 0 with the kind and
 * the name, free with g_free(); -EOPNOTSUPP when there is no such node; or another negative
 * errno. */
int vfio_node_choose(const Function *function, LeaseKind wanted, LeaseKind *ret_kind, char **ret);

/* Whether there is /dev/iommu: without it a device's own node is of no use to anybody
 * (VFIO_DEVICE_BIND_IOMMUFD). Returns 1, 0 or a negative errno. */
int vfio_node_has_iommufd(void);
