/* `region`: the zPCI I/O region of a VFIO device, type 0x80001014, subtype 2, as proposed in 2021:
 * the request is written whole, and names the data by an address of the writer's. One request is
 * one instruction. */
#include "daemon/io/backend/backend.h"

#include <errno.h>
#include <linux/vfio.h>
#include <string.h>
#include <sys/ioctl.h>

/* VFIO's own regions come before the devices'. */
#define REGIONS_MAX 64U
#define INFO_MAX    1024U

static int region_do(IoBackend *backend, uint64_t flags, const void *data, unsigned pcias,
                     uint64_t offset, size_t length) {
        ZpciRegionRequest request = {
                .flags = flags,
                .gaddr = (uint64_t) (uintptr_t) data,
                .offset = offset,
                .length = (uint16_t) length,
                .pcias = (uint8_t) pcias,
        };

        return io_backend_pwrite(backend->device,
                                 backend->region_place + ZPCI_REGION_REQUEST_OFFSET, &request,
                                 sizeof(request));
}

static int region_load(IoBackend *backend, unsigned pcias, uint64_t offset, void *data,
                       size_t length) {
        return region_do(backend, ZPCI_REQUEST_LOAD, data, pcias, offset, length);
}

/* Configuration and short stores have ways of their own; the region is for blocks. */
static int region_store(IoBackend *backend, unsigned pcias, uint64_t offset, const void *data,
                        size_t length) {
        if (length <= 8 && !backend->target.relaxed)
                return io_backend_vfio_store(backend, pcias, offset, data, length);
        return region_do(backend, ZPCI_REQUEST_STORE_BLOCK, data, pcias, offset, length);
}

/* Whether the capabilities of `info`, which has `size` bytes, call it the region. */
static bool is_region(const uint8_t *info, uint32_t size, uint32_t offset) {
        struct vfio_region_info_cap_type type;

        /* Each step goes forward, so it ends. */
        while (offset >= sizeof(struct vfio_region_info) && offset <= size - sizeof(type.header)) {
                memcpy(&type.header, info + offset, sizeof(type.header));
                if (type.header.id == VFIO_REGION_INFO_CAP_TYPE && offset <= size - sizeof(type)) {
                        memcpy(&type, info + offset, sizeof(type));
                        return type.type == ZPCI_REGION_TYPE && type.subtype == ZPCI_REGION_SUBTYPE;
                }
                if (type.header.next <= offset)
                        return false;
                offset = type.header.next;
        }
        return false;
}

static int find_region(int device, uint64_t *ret_place) {
        struct vfio_device_info info = { .argsz = sizeof(info) };

        if (ioctl(device, VFIO_DEVICE_GET_INFO, &info) < 0)
                return -errno;
        for (uint32_t i = VFIO_PCI_NUM_REGIONS; i < info.num_regions && i < REGIONS_MAX; i++) {
                _Alignas(struct vfio_region_info) uint8_t bytes[INFO_MAX] = { 0 };
                struct vfio_region_info *region = (void *) bytes;

                region->argsz = sizeof(bytes);
                region->index = i;
                if (ioctl(device, VFIO_DEVICE_GET_REGION_INFO, region) < 0 ||
                    region->argsz > sizeof(bytes) || !(region->flags & VFIO_REGION_INFO_FLAG_CAPS))
                        continue;
                if (is_region(bytes, sizeof(bytes), region->cap_offset) &&
                    region->size >= ZPCI_REGION_SIZE) {
                        *ret_place = region->offset;
                        return 0;
                }
        }
        return -EOPNOTSUPP;
}

int io_backend_region_probe(IoBackend *backend, const IoBackendOptions *options) {
        ZpciRegionHeader header;
        uint16_t max;
        bool ism;
        int r;

        r = io_backend_read_vfio(backend, &ism, &max);
        if (r < 0)
                return r;
        r = find_region(backend->device, &backend->region_place);
        if (r < 0)
                return r;
        r = io_backend_pread(backend->device, backend->region_place, &header, sizeof(header));
        if (r < 0)
                return r;
        backend->name = "zpci-region";
        backend->target.max_store_block = header.max != 0 ? header.max : ZPCI_LOAD_MAX;
        backend->target.relaxed = ism || options->relaxed;
        /* Loads are the region's; short stores of a strict device go by its BARs. */
        backend->target.natural_loads = false;
        backend->load = region_load;
        backend->store = region_store;
        return 0;
}
