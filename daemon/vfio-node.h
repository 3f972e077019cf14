/* vfio-node.h: which of VFIO's nodes a function can be opened by.
 *
 * Owns nothing, and opens none of them. Called by leases.h. */
#pragma once

#include "policy/function.h"

/* The name below /dev/vfio of the function's own node ("devices/vfio3"), or of its group's ("12"), if it is there; NULL
 * if not. Free with g_free(). */
char *vfio_node_of_device(const Function *function);
char *vfio_node_of_group(const Function *function);

/* Whether there is /dev/iommu: without it nobody can do anything with a device's own node
 * (VFIO_DEVICE_BIND_IOMMUFD). */
bool vfio_node_has_iommufd(void);
