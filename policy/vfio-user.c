#include "policy/vfio-user.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

static_assert(sizeof(VfioUserHeader) == 16, "layout");
static_assert(sizeof(VfioUserDmaMap) == 32, "layout");
static_assert(sizeof(VfioUserDmaUnmap) == 24, "layout");
static_assert(sizeof(VfioUserRegionInfo) == 32, "layout");
static_assert(sizeof(VfioUserRegionType) == 16, "layout");
static_assert(sizeof(VfioUserIrqSet) == 20, "layout");
static_assert(sizeof(VfioUserRegionAccess) == 16, "layout");
static_assert(sizeof(VfioUserWrite) == 24, "layout");
static_assert(sizeof(VfioUserRing) == 16, "layout");
static_assert(VFIO_USER_MESSAGE_MAX >=
                      sizeof(VfioUserHeader) + sizeof(VfioUserDmaMap) + VFIO_USER_DATA_MAX,
              "the longest");

int64_t vfio_user_message_size(const uint8_t *bytes, size_t size) {
        VfioUserHeader header;

        if (size < sizeof(header))
                return 0;
        memcpy(&header, bytes, sizeof(header));
        if (header.size < sizeof(header))
                return -EBADMSG;
        if (header.size > VFIO_USER_MESSAGE_MAX)
                return -EMSGSIZE;
        return header.size;
}

/* The fixed part of a command, and whether data may follow. */
typedef struct Shape {
        uint8_t fixed;
        bool offered, data;
} Shape;

static const Shape shapes[] = {
        [VFIO_USER_VERSION] = { sizeof(VfioUserVersion), true, true },
        [VFIO_USER_DMA_MAP] = { sizeof(VfioUserDmaMap), true, false },
        [VFIO_USER_DMA_UNMAP] = { sizeof(VfioUserDmaUnmap), true, false },
        [VFIO_USER_GET_INFO] = { sizeof(VfioUserDeviceInfo), true, false },
        [VFIO_USER_GET_REGION_INFO] = { sizeof(VfioUserRegionInfo), true, false },
        [VFIO_USER_GET_IRQ_INFO] = { sizeof(VfioUserIrqInfo), true, false },
        [VFIO_USER_SET_IRQS] = { sizeof(VfioUserIrqSet), true, true },
        [VFIO_USER_REGION_READ] = { sizeof(VfioUserRegionAccess), true, false },
        [VFIO_USER_REGION_WRITE] = { sizeof(VfioUserRegionAccess), true, true },
        [VFIO_USER_DEVICE_RESET] = { 0, true, false },
        [VFIO_USER_REGION_WRITE_MULTI] = { sizeof(VfioUserWriteMulti), true, true },
};

/* NULL for a command that is not offered. */
static const Shape *get_shape(uint16_t command) {
        static const Shape ring = { sizeof(VfioUserRing), true, false };

        if (command == VFIO_USER_VFWARDEN_RING)
                return &ring;
        return command < sizeof(shapes) / sizeof(*shapes) && shapes[command].offered
                       ? &shapes[command]
                       : NULL;
}

/* `argsz` of a request that is answered with more than a header says how much the asker has room
 * for, of the others how much it sent; less than the structure is no request. */
static int check_payload(const VfioUserRequest *request) {
        switch (request->header.command) {
        case VFIO_USER_VERSION:
                /* One name is looked for (io-ring.h); else its JSON is not read. */
                return request->data_size == 0 || request->data[request->data_size - 1] == '\0'
                               ? 0
                               : -EINVAL;
        case VFIO_USER_DMA_MAP:
                return request->map.argsz >= sizeof(request->map) ? 0 : -EINVAL;
        case VFIO_USER_DMA_UNMAP:
                return request->unmap.argsz >= sizeof(request->unmap) ? 0 : -EINVAL;
        case VFIO_USER_GET_INFO:
                return request->device.argsz >= sizeof(request->device) ? 0 : -EINVAL;
        case VFIO_USER_GET_REGION_INFO:
                return request->region.argsz >= sizeof(request->region) ? 0 : -EINVAL;
        case VFIO_USER_GET_IRQ_INFO:
                return request->irq.argsz >= sizeof(request->irq) ? 0 : -EINVAL;
        case VFIO_USER_SET_IRQS:
                return request->irq_set.argsz >= sizeof(request->irq_set) ? 0 : -EINVAL;
        case VFIO_USER_REGION_READ:
                return request->access.count > 0 && request->access.count <= VFIO_USER_DATA_MAX
                               ? 0
                               : -EINVAL;
        case VFIO_USER_REGION_WRITE:
                return request->access.count > 0 && request->access.count == request->data_size
                               ? 0
                               : -EINVAL;
        case VFIO_USER_DEVICE_RESET:
                return 0;
        case VFIO_USER_REGION_WRITE_MULTI:
                return request->multi.count > 0 && request->multi.count <= VFIO_USER_WRITES_MAX &&
                                       request->multi.count * sizeof(VfioUserWrite) ==
                                               request->data_size
                               ? 0
                               : -EINVAL;
        case VFIO_USER_VFWARDEN_RING:
                return request->ring.argsz >= sizeof(request->ring) ? 0 : -EINVAL;
        default:
                return -EINVAL;
        }
}

int vfio_user_parse(const uint8_t *message, size_t size, VfioUserRequest *ret) {
        VfioUserRequest request = { 0 };
        size_t payload = size - sizeof(request.header), fixed;
        const Shape *shape;
        int r;

        memcpy(&request.header, message, sizeof(request.header));
        ret->header = request.header;
        /* Nothing was asked of the client, so nothing can be answered. */
        if ((request.header.flags & VFIO_USER_FLAG_TYPE) != 0)
                return -EINVAL;
        shape = get_shape(request.header.command);
        if (!shape)
                return -EOPNOTSUPP;

        fixed = shape->fixed;
        if (payload < fixed || (payload > fixed && !shape->data))
                return -EINVAL;
        /* The members of the union begin where it does. */
        memcpy((uint8_t *) &request + offsetof(VfioUserRequest, version),
               message + sizeof(request.header), fixed);
        request.data = message + sizeof(request.header) + fixed;
        request.data_size = payload - fixed;
        if (request.data_size > VFIO_USER_DATA_MAX &&
            request.header.command != VFIO_USER_REGION_WRITE_MULTI)
                return -EINVAL;
        r = check_payload(&request);
        if (r < 0)
                return r;
        *ret = request;
        return 0;
}

VfioUserHeader vfio_user_reply(const VfioUserHeader *request, int error, size_t size) {
        return (VfioUserHeader){
                .id = request->id,
                .command = request->command,
                .size = (uint32_t) (sizeof(VfioUserHeader) + (error ? 0 : size)),
                .flags = VFIO_USER_FLAG_REPLY | (error ? VFIO_USER_FLAG_ERROR : 0),
                .error = (uint32_t) error,
        };
}
