/* vfio-cdev.h: opens a device by its own node and an iommufd, with no group and no container.
 *
 * Owns nothing. For the process that opens (vfio-open.h): a bind resets the device. What was bound
 * is attached to no address space, so it can do no DMA. The device keeps the iommufd alive, so only
 * the device's descriptor is handed out. */
#pragma once

#include "policy/vf-token.h"

/* Opens the node at `path`, and binds it to a new iommufd of the node at `iommufd_path`. With
 * `token`, the device is a physical function, whose token this is from then on. Returns the
 * device's descriptor, or -1 with errno and in `*ret_step` what failed, for people. */
int vfio_cdev_open(const char *path, const char *iommufd_path, const VfToken *token,
                   const char **ret_step);
