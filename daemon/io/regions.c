#include "daemon/io/regions.h"

#include <errno.h>

static void add_type(VfioUserRegionInfo *info, const VfioUserRequest *request, Reply *reply) {
        static const VfioUserRegionType type = {
                .id = VFIO_USER_REGION_CAP_TYPE,
                .version = 1,
                .type = ZPCI_REGION_TYPE,
                .subtype = ZPCI_REGION_SUBTYPE,
        };

        info->argsz += (uint32_t) sizeof(type);
        info->flags |= VFIO_USER_REGION_FLAG_CAPS;
        if (request->region.argsz >= info->argsz)
                info->cap_offset = sizeof(*info);
        reply_add(reply, info, sizeof(*info));
        if (info->cap_offset != 0)
                reply_add(reply, &type, sizeof(type));
}

int regions_info(const Regions *regions, const VfioUserRequest *request, Reply *reply) {
        const ZpciTarget *target = device_target(regions->device);
        VfioUserRegionInfo info = { .argsz = sizeof(info), .index = request->region.index };

        if (info.index >= VFIO_USER_N_REGIONS)
                return -EINVAL;
        if (info.index < ZPCI_N_BARS)
                info.size = target->bar_size[info.index];
        else if (info.index == VFIO_USER_REGION_CONFIG)
                info.size = target->config_size;
        else if (info.index == VFIO_USER_REGION_ZPCI)
                info.size = ZPCI_REGION_SIZE;
        if (info.size != 0)
                info.flags = VFIO_USER_REGION_FLAG_READ | VFIO_USER_REGION_FLAG_WRITE;
        if (info.index == VFIO_USER_REGION_ZPCI)
                add_type(&info, request, reply);
        else
                reply_add(reply, &info, sizeof(info));
        return 0;
}

int regions_read(Regions *regions, const VfioUserRequest *request, Reply *reply) {
        const VfioUserRegionAccess *access = &request->access;
        const ZpciTarget *target = device_target(regions->device);
        ZpciRegionHeader header = { .max = target->max_store_block };
        uint8_t *data;
        int r = -EINVAL;

        reply_add(reply, access, sizeof(*access));
        data = reply->payload + reply->size;
        if (access->region < ZPCI_N_BARS) {
                if (zpci_check_load(target, access->region, access->offset, access->count) !=
                    ZPCI_ALLOWED)
                        return -EINVAL;
                r = device_load(regions->device, access->region, access->offset, data,
                                access->count);
        } else if (access->region == VFIO_USER_REGION_CONFIG) {
                r = device_read_config(regions->device, access->offset, data, access->count);
        } else if (access->region == VFIO_USER_REGION_ZPCI) {
                r = zpci_region_check_read(access->offset, access->count);
                if (r >= 0)
                        memcpy(data, (const uint8_t *) &header + access->offset, access->count);
        }
        if (r >= 0)
                reply->size += access->count;
        return r;
}

/* A whole request of the zPCI I/O region. */
static int do_request(Regions *regions, const uint8_t *data) {
        Device *device = regions->device;
        ZpciRegionRequest request;
        int r;

        memcpy(&request, data, sizeof(request));
        if (zpci_check_request(device_target(device), &request) != ZPCI_ALLOWED)
                return -EIO;
        if (request.flags == ZPCI_REQUEST_LOAD) {
                r = device_load(device, request.pcias, request.offset, regions->bounce,
                                request.length);
                return r < 0 ? r
                             : io_memory_write(regions->memory, request.gaddr, regions->bounce,
                                               request.length);
        }
        /* Read once: what the guest changes afterwards changes nothing. */
        r = io_memory_read(regions->memory, request.gaddr, regions->bounce, request.length);
        if (r < 0)
                return r;
        return device_store(device, request.pcias, request.offset, regions->bounce, request.length);
}

/* To a BAR or to configuration space; other regions are -EINVAL. */
static int write_device(Regions *regions, const VfioUserRegionAccess *access, const uint8_t *data) {
        Device *device = regions->device;

        if (access->region < ZPCI_N_BARS) {
                if (zpci_check_store(device_target(device), access->region, access->offset,
                                     access->count) != ZPCI_ALLOWED)
                        return -EINVAL;
                /* A system call takes its data from anywhere; the emulated device copies it. */
                return device_store(device, access->region, access->offset, data, access->count);
        }
        return access->region == VFIO_USER_REGION_CONFIG
                       ? device_write_config(device, access->offset, data, access->count)
                       : -EINVAL;
}

static int do_write(Regions *regions, const VfioUserRegionAccess *access, const uint8_t *data) {
        int r;

        if (access->region != VFIO_USER_REGION_ZPCI)
                return write_device(regions, access, data);
        r = zpci_region_check_write(access->offset, access->count);
        return r < 0 ? r : do_request(regions, data);
}

int regions_write(Regions *regions, const VfioUserRequest *request, Reply *reply) {
        int r = do_write(regions, &request->access, request->data);

        if (r >= 0)
                reply_add(reply, &request->access, sizeof(request->access));
        return r;
}

int regions_write_multi(Regions *regions, const VfioUserRequest *request, Reply *reply) {
        VfioUserWriteMulti done = { 0 };
        int error = 0;

        for (uint64_t i = 0; i < request->multi.count; i++) {
                VfioUserWrite write;
                int r = -EINVAL;

                memcpy(&write, request->data + i * sizeof(write), sizeof(write));
                /* A request of the zPCI I/O region does not fit into one of these. */
                if (write.access.count > 0 && write.access.count <= sizeof(write.data))
                        r = write_device(regions, &write.access, write.data);
                if (r >= 0) {
                        done.count++;
                } else {
                        regions->failed++;
                        error = error < 0 ? error : r;
                }
        }
        if (done.count == 0)
                return error;
        reply_add(reply, &done, sizeof(done));
        return 0;
}
