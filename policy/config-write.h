/* config-write.h: what of a session's write to configuration space reaches the device.
 *
 * Owns nothing. VFIO virtualises configuration space for an untrusted user (vfio_config_do_rw()),
 * so each write that stays inside is possible. One bit is not the client's: a device without memory
 * of the client's must not master the bus, also where the IOMMU would stop it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whether `length` bytes at `offset` are inside a configuration space of `size` bytes: 0, or
 * -EINVAL also for a length of 0. */
int config_write_check(uint32_t size, uint64_t offset, uint64_t length);

/* Clears in `data`, which is to be written to `offset`, what a session must not set. `dma`: the
 * device may access the client's memory. */
void config_write_mask(uint64_t offset, uint8_t *data, size_t length, bool dma);
