/* regions.h: the regions of a session: BARs, configuration space, the zPCI I/O region.
 *
 * Owns the place where the data of a block waits for the device. The client's thread alone calls
 * it. Each access is checked by the rules before the device sees it. The functions answer one
 * message each: they add to `reply`, and return 0 or the negative errno to answer with. */
#pragma once

#include "daemon/io/device.h"
#include "daemon/io/memory.h"
#include "daemon/io/reply.h"
#include "policy/vfio-user.h"

typedef struct Regions {
        Device *device;
        const IoMemory *memory;
        unsigned failed; /* writes of the message at hand, of several */
        _Alignas(8) uint8_t bounce[VFIO_USER_DATA_MAX];
} Regions;

int regions_info(const Regions *regions, const VfioUserRequest *request, Reply *reply);
int regions_read(Regions *regions, const VfioUserRequest *request, Reply *reply);
int regions_write(Regions *regions, const VfioUserRequest *request, Reply *reply);

/* Each of the writes is executed as if it had come alone: one that fails keeps no other from being
 * executed. The reply has the number of those that succeeded; an error means that none did. */
int regions_write_multi(Regions *regions, const VfioUserRequest *request, Reply *reply);
