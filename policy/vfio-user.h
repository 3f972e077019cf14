/* vfio-user.h: the messages of the vfio-user protocol, as far as a session needs them.
 *
 * Owns nothing and reads no socket: bytes come in, and a request that is whole and sound, or an
 * errno, comes out. The names and layouts are those of QEMU's docs/interop/vfio-user.rst;
 * everything is in the host's byte order. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VFIO_USER_MAJOR 0U
#define VFIO_USER_MINOR 1U

typedef enum VfioUserCommand {
        VFIO_USER_VERSION = 1,
        VFIO_USER_DMA_MAP,
        VFIO_USER_DMA_UNMAP,
        VFIO_USER_GET_INFO,
        VFIO_USER_GET_REGION_INFO,
        VFIO_USER_GET_REGION_IO_FDS,
        VFIO_USER_GET_IRQ_INFO,
        VFIO_USER_SET_IRQS,
        VFIO_USER_REGION_READ,
        VFIO_USER_REGION_WRITE,
        VFIO_USER_DEVICE_RESET = 13,
        VFIO_USER_REGION_WRITE_MULTI = 15,
        /* Ours: the protocol has no command above 0xff. */
        VFIO_USER_VFWARDEN_RING = 0x5600,
} VfioUserCommand;

typedef struct VfioUserHeader {
        uint16_t id;
        uint16_t command;
        uint32_t size; /* of the message, this header included */
        uint32_t flags;
        uint32_t error; /* an errno, in an error reply */
} VfioUserHeader;

#define VFIO_USER_FLAG_REPLY    0x1U
#define VFIO_USER_FLAG_TYPE     0xfU
#define VFIO_USER_FLAG_NO_REPLY 0x10U
#define VFIO_USER_FLAG_ERROR    0x20U

typedef struct VfioUserVersion {
        uint16_t major;
        uint16_t minor;
} VfioUserVersion;

typedef struct VfioUserDmaMap {
        uint32_t argsz;
        uint32_t flags;
        uint64_t offset;
        uint64_t address;
        uint64_t size;
} VfioUserDmaMap;

#define VFIO_USER_DMA_READ  1U
#define VFIO_USER_DMA_WRITE 2U

typedef struct VfioUserDmaUnmap {
        uint32_t argsz;
        uint32_t flags;
        uint64_t address;
        uint64_t size;
} VfioUserDmaUnmap;

typedef struct VfioUserDeviceInfo {
        uint32_t argsz;
        uint32_t flags;
        uint32_t n_regions;
        uint32_t n_irqs;
} VfioUserDeviceInfo;

#define VFIO_USER_DEVICE_RESETS 1U /* it can be reset */
#define VFIO_USER_DEVICE_PCI    2U

typedef struct VfioUserRegionInfo {
        uint32_t argsz;
        uint32_t flags;
        uint32_t index;
        uint32_t cap_offset; /* from the beginning of this structure */
        uint64_t size;
        uint64_t offset;
} VfioUserRegionInfo;

#define VFIO_USER_REGION_FLAG_READ  1U
#define VFIO_USER_REGION_FLAG_WRITE 2U
#define VFIO_USER_REGION_FLAG_CAPS  8U

/* VFIO_REGION_INFO_CAP_TYPE of linux/vfio.h. */
typedef struct VfioUserRegionType {
        uint16_t id;
        uint16_t version;
        uint32_t next;
        uint32_t type;
        uint32_t subtype;
} VfioUserRegionType;

#define VFIO_USER_REGION_CAP_TYPE 2U

typedef struct VfioUserIrqInfo {
        uint32_t argsz;
        uint32_t flags;
        uint32_t index;
        uint32_t count;
} VfioUserIrqInfo;

#define VFIO_USER_IRQ_EVENTFD    1U
#define VFIO_USER_IRQ_MASKABLE   2U
#define VFIO_USER_IRQ_AUTOMASKED 4U
#define VFIO_USER_IRQ_NORESIZE   8U

typedef struct VfioUserIrqSet {
        uint32_t argsz;
        uint32_t flags;
        uint32_t index;
        uint32_t start;
        uint32_t count;
} VfioUserIrqSet;

#define VFIO_USER_IRQ_SET_NONE    1U
#define VFIO_USER_IRQ_SET_BOOL    2U
#define VFIO_USER_IRQ_SET_EVENTFD 4U
#define VFIO_USER_IRQ_SET_MASK    8U
#define VFIO_USER_IRQ_SET_UNMASK  0x10U
#define VFIO_USER_IRQ_SET_TRIGGER 0x20U

typedef struct VfioUserRegionAccess {
        uint64_t offset;
        uint32_t region;
        uint32_t count;
} VfioUserRegionAccess;

/* REGION_WRITE_MULTI: the number of writes, then the writes. The reply has the number of those that
 * were done. */
typedef struct VfioUserWriteMulti {
        uint64_t count;
} VfioUserWriteMulti;

#define VFIO_USER_WRITE_MAX 8U

typedef struct VfioUserWrite {
        VfioUserRegionAccess access;
        uint8_t data[VFIO_USER_WRITE_MAX];
} VfioUserWrite;

/* QEMU's maximum; the protocol has none. */
#define VFIO_USER_WRITES_MAX 200U

/* Sets up a ring (io-ring.h). The reply has what the client gets. */
typedef struct VfioUserRing {
        uint32_t argsz;
        uint32_t flags; /* 0 */
        uint32_t entries;
        uint32_t max_spin_usec;
} VfioUserRing;

/* With it come the memory, and the eventfds for requests and for replies. */
#define VFIO_USER_RING_FDS 3U

/* The indexes that linux/vfio.h gives to a PCI function, and ours. */
enum {
        VFIO_USER_REGION_CONFIG = 7,
        VFIO_USER_REGION_ZPCI = 9,
        VFIO_USER_N_REGIONS,
};
enum {
        VFIO_USER_IRQ_INTX,
        VFIO_USER_IRQ_MSI,
        VFIO_USER_IRQ_MSIX,
        VFIO_USER_IRQ_ERR,
        VFIO_USER_N_DEVICE_IRQS,
        VFIO_USER_IRQ_REQUEST = VFIO_USER_N_DEVICE_IRQS, /* VFIO's request to release the device */
        VFIO_USER_N_IRQS,
};

/* The most that one message carries besides its header and fixed part; what is offered as
 * `max_data_xfer_size`. A store block never leaves a page, and configuration space is one. */
#define VFIO_USER_DATA_MAX 4096U
/* REGION_WRITE_MULTI is the longest message. */
#define VFIO_USER_MESSAGE_MAX                                  \
        (sizeof(VfioUserHeader) + sizeof(VfioUserWriteMulti) + \
         VFIO_USER_WRITES_MAX * sizeof(VfioUserWrite))

/* A request as it was received. `data` points into the message. */
typedef struct VfioUserRequest {
        VfioUserHeader header;
        union {
                VfioUserVersion version;
                VfioUserDmaMap map;
                VfioUserDmaUnmap unmap;
                VfioUserDeviceInfo device;
                VfioUserRegionInfo region;
                VfioUserIrqInfo irq;
                VfioUserIrqSet irq_set;
                VfioUserRegionAccess access;
                VfioUserWriteMulti multi;
                VfioUserRing ring;
        };
        const uint8_t *data;
        size_t data_size;
} VfioUserRequest;

/* How long the message is that begins with the `size` bytes at `bytes`. Returns 0 while that is not
 * known, -EBADMSG when the length is impossible and -EMSGSIZE when it is more than
 * VFIO_USER_MESSAGE_MAX: then where the next one begins cannot be known, or would have to be waited
 * for. */
int64_t vfio_user_message_size(const uint8_t *bytes, size_t size);

/* Takes the whole message of `size` bytes apart. Returns 0, or the errno to answer with:
 * -EOPNOTSUPP for a command that is not offered, -EINVAL for anything wrong. The header is written
 * in any case, and nothing else on failure. `size` is what vfio_user_message_size() said. */
int vfio_user_parse(const uint8_t *message, size_t size, VfioUserRequest *ret);

/* The header of the reply with `size` bytes after it; `error` is 0 or an errno, which comes
 * alone. */
VfioUserHeader vfio_user_reply(const VfioUserHeader *request, int error, size_t size);

/* Whether an error reply or a reply is expected at all. */
static inline bool vfio_user_wants_reply(const VfioUserHeader *request) {
        return !(request->flags & VFIO_USER_FLAG_NO_REPLY);
}
