/* fuzz-session.c: what a client can send to vfwarden-io, and in what pieces.
 *
 * The real stream and session, over a socket that is not there: recvmsg() and send() are ours. The
 * input is a byte of options, then records: a byte of how, then, for a message, its command and the
 * length of its payload (2 bytes), then the payload; or raw bytes. Where the session waits for its
 * ring, the input says what the client does there. What must hold: only whole and
 * sound replies are sent; nothing reaches the device that the rules forbid; no descriptor is left
 * over. */
#include "daemon/io/session.h"
#include "daemon/io/stream.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define BAR_SIZE    8192U
#define CONFIG_SIZE 256U
#define MEMORY_SIZE (16U * 4096U)

/* The options' bits. */
#define RELAXED  1U
#define NATURAL  2U
#define SHORT    4U /* blocks of 128 bytes at most */
#define VERSION  8U /* the client begins as it should */
#define NO_RESET 16U
#define DMA      32U /* the device may access the client's memory */
#define SPINS    64U

/* The byte that stands for the command with a larger number. */
#define RING_COMMAND 0x56U

/* A record's. */
#define RAW      1U
#define WITH_FD  2U
#define SPLIT    4U /* comes in two pieces */
#define NO_REPLY 8U
#define CRAMPED  16U /* more descriptors than there is room for */
#define EVENT    32U /* the descriptors, of which there are several then, are eventfds */
#define LIKELY   64U /* fields are bent to what a client would ask for */

static struct {
        const uint8_t *data;
        size_t size;
        uint8_t message[sizeof(VfioUserHeader) + UINT16_MAX];
        size_t begin, end;
        uint8_t how;
} input;

static uint8_t bar[BAR_SIZE], config[CONFIG_SIZE];
static int memory = -1, event = -1, ring_file = -1;
static IoRingMemory *ring;
static bool has_dma;

/* What the device may access. An address above the first eight pages is not translated. */
#define PINNED_MAX 8U

static struct { uint64_t begin, end; } pinned[PINNED_MAX];
static unsigned n_pinned;
static uint64_t pinned_bytes;

static uint8_t take(void) {
        if (input.size == 0)
                return 0;
        input.size--;
        return *input.data++;
}

static void bend_writes(uint8_t *payload, size_t size) {
        uint64_t count = (size - sizeof(count)) / sizeof(VfioUserWrite);

        memcpy(payload, &count, sizeof(count));
        for (uint64_t i = 0; i < count; i++) {
                uint8_t *at = payload + sizeof(count) + i * sizeof(VfioUserWrite);
                VfioUserRegionAccess access;

                memcpy(&access, at, sizeof(access));
                access.region = access.region % 2 ? VFIO_USER_REGION_CONFIG : 2;
                access.offset %= access.region == 2 ? BAR_SIZE : CONFIG_SIZE;
                access.count %= 10;
                memcpy(at, &access, sizeof(access));
        }
}

static void bend_irqs(uint8_t *payload, size_t size) {
        VfioUserIrqSet set;

        memcpy(&set, payload, sizeof(set));
        set = (VfioUserIrqSet){ .argsz = (uint32_t) size,
                                .flags = 1U << set.flags % 3 | 8U << set.flags / 4 % 3,
                                .index = set.index % 5,
                                .start = set.start % 10,
                                .count = set.count % 10 };
        memcpy(payload, &set, sizeof(set));
}

static void bend_ring(uint8_t *payload) {
        VfioUserRing setup;

        memcpy(&setup, payload, sizeof(setup));
        setup = (VfioUserRing){ .argsz = sizeof(setup),
                                .entries = 1U << setup.entries % 8,
                                .max_spin_usec = setup.max_spin_usec % 4 };
        memcpy(payload, &setup, sizeof(setup));
}

/* So that most of the time is not spent on finding out what a message looks like. */
static void bend(uint16_t command, uint8_t *payload, size_t size) {
        VfioUserRegionAccess access;
        ZpciRegionRequest request;
        VfioUserDmaMap map;
        uint32_t argsz = (uint32_t) size;

        if (command == VFIO_USER_REGION_READ || command == VFIO_USER_REGION_WRITE) {
                if (size < sizeof(access))
                        return;
                memcpy(&access, payload, sizeof(access));
                access.region = access.region % 4 == 0   ? VFIO_USER_REGION_CONFIG
                                : access.region % 4 == 1 ? VFIO_USER_REGION_ZPCI
                                                         : 2;
                access.offset %= access.region == 2                         ? BAR_SIZE
                                 : access.region == VFIO_USER_REGION_CONFIG ? 16
                                                                            : 64;
                access.count %= 64;
                if (command == VFIO_USER_REGION_WRITE)
                        access.count = (uint32_t) (size - sizeof(access));
                if (command == VFIO_USER_REGION_WRITE && access.region == VFIO_USER_REGION_ZPCI &&
                    access.count == sizeof(request)) {
                        access.offset = ZPCI_REGION_REQUEST_OFFSET;
                        memcpy(&request, payload + sizeof(access), sizeof(request));
                        request.flags = 1 + request.flags % 2;
                        request.gaddr %= 2 * MEMORY_SIZE;
                        request.offset %= BAR_SIZE;
                        request.pcias = 2;
                        memcpy(payload + sizeof(access), &request, sizeof(request));
                }
                memcpy(payload, &access, sizeof(access));
        } else if (command == VFIO_USER_DMA_MAP && size == sizeof(map)) {
                memcpy(&map, payload, sizeof(map));
                map = (VfioUserDmaMap){ .argsz = sizeof(map),
                                        .flags = 1 + map.flags % 3,
                                        .offset = map.offset % 8 * 4096,
                                        .address = map.address % 16 * 4096,
                                        .size = map.size % 8 * 4096 };
                memcpy(payload, &map, sizeof(map));
        } else if (command == VFIO_USER_SET_IRQS && size >= sizeof(VfioUserIrqSet)) {
                bend_irqs(payload, size);
        } else if (command == VFIO_USER_REGION_WRITE_MULTI && size >= sizeof(uint64_t)) {
                bend_writes(payload, size);
        } else if (command == VFIO_USER_VFWARDEN_RING && size == sizeof(VfioUserRing)) {
                bend_ring(payload);
        } else if (size >= sizeof(argsz)) {
                memcpy(payload, &argsz, sizeof(argsz));
        }
}

/* Makes the next record's bytes. */
static bool next_record(void) {
        VfioUserHeader header = { .id = 1 };
        size_t length;

        if (input.size == 0)
                return false;
        input.how = take();
        header.command = take();
        if (header.command == RING_COMMAND)
                header.command = VFIO_USER_VFWARDEN_RING;
        length = take() | (size_t) (input.how & RAW ? 0 : take() & 0x1f) << 8;
        if (length > input.size)
                length = input.size;
        input.begin = input.end = 0;
        if (!(input.how & RAW)) {
                header.size = (uint32_t) (sizeof(header) + length);
                header.flags = input.how & NO_REPLY ? VFIO_USER_FLAG_NO_REPLY : 0;
                memcpy(input.message, &header, sizeof(header));
                input.end = sizeof(header);
        }
        memcpy(input.message + input.end, input.data, length);
        if ((input.how & (LIKELY | RAW)) == LIKELY)
                bend(header.command, input.message + input.end, length);
        input.end += length;
        input.data += length;
        input.size -= length;
        return input.end > 0;
}

/* Which descriptors come with a message: eventfds, or memory. */
static int passed_fd(unsigned i, bool events) {
        uint16_t command;

        memcpy(&command, input.message + offsetof(VfioUserHeader, command), sizeof(command));
        if (command == VFIO_USER_VFWARDEN_RING && events)
                return dup(i == 0 ? ring_file : event);
        return dup(events ? event : memory);
}

ssize_t recvmsg(int fd, struct msghdr *message, int flags) {
        size_t n;

        if (input.begin == input.end && !next_record())
                return 0;
        n = input.end - input.begin;
        if (input.how & SPLIT && n > 1)
                n /= 2;
        if (n > message->msg_iov->iov_len)
                n = message->msg_iov->iov_len;
        assert(n > 0);
        memcpy(message->msg_iov->iov_base, input.message + input.begin, n);
        input.begin += n;

        message->msg_flags = input.how & CRAMPED ? MSG_CTRUNC : 0;
        if (input.how & WITH_FD) {
                struct cmsghdr *control = message->msg_control;
                unsigned n_fds = input.how & EVENT ? 1 + input.message[n - 1] % CLIENT_FDS_MAX : 1;

                if (input.how & EVENT && input.how & LIKELY &&
                    input.message[3] == VFIO_USER_VFWARDEN_RING >> 8)
                        n_fds = VFIO_USER_RING_FDS;

                control->cmsg_level = SOL_SOCKET;
                control->cmsg_type = SCM_RIGHTS;
                control->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
                for (unsigned i = 0; i < n_fds; i++) {
                        int passed = passed_fd(i, input.how & EVENT);

                        memcpy(CMSG_DATA(control) + i * sizeof(passed), &passed, sizeof(passed));
                }
        } else {
                message->msg_controllen = 0;
        }
        input.how &= (uint8_t) ~(SPLIT | WITH_FD | CRAMPED);
        return (ssize_t) n;
}

ssize_t send(int fd, const void *data, size_t size, int flags) {
        const uint8_t *bytes = data;
        VfioUserHeader header;

        for (size_t at = 0; at < size; at += header.size) {
                assert(size - at >= sizeof(header));
                memcpy(&header, bytes + at, sizeof(header));
                assert(header.size >= sizeof(header) && header.size <= size - at);
                assert((header.flags & VFIO_USER_FLAG_TYPE) == VFIO_USER_FLAG_REPLY);
                assert(!(header.flags & VFIO_USER_FLAG_ERROR) ==
                       (header.error == 0 || header.error > 4095));
                assert(!(header.flags & VFIO_USER_FLAG_ERROR) || header.size == sizeof(header));
        }
        return (ssize_t) size;
}

/* What the client does in the ring: a byte for how, one for the place. Most of the time it fills an
 * entry and advances its counter; else it writes anywhere. */
static void write_ring(void) {
        uint8_t how = take(), place = take();
        IoRingEntry entry = { 0 };
        uint8_t *bytes = (uint8_t *) &entry;

        if (how % 4 == 3) {
                ((uint8_t *) ring)[(size_t) place * (how & 0x80 ? 32 : 1)] = take();
                return;
        }
        for (size_t i = 0; i < offsetof(IoRingEntry, reserved); i += how & 0x40 ? 1 : 4)
                bytes[i] = take();
        if (how & 0x20) {
                entry.kind = 1 + entry.kind % 2;
                entry.region = 2;
                entry.offset %= BAR_SIZE + 8;
                entry.count %= 10;
        }
        ring->entries[place % IO_RING_ENTRIES_MAX] = entry;
        ring->client.waits = how & 0x10;
        __atomic_fetch_add(&ring->client.tail, how >> 2 & 3, __ATOMIC_RELAXED);
}

int poll(struct pollfd *fds, nfds_t n, int timeout) {
        assert(n == 2 && timeout == -1 && fds[0].events == POLLIN && fds[1].events == POLLIN);
        assert(ring->server.waits == 1);
        if (input.begin == input.end && input.size > 0 && take() & 1) {
                write_ring();
                fds[1].revents = POLLIN;
        } else {
                fds[0].revents = POLLIN;
        }
        return 1;
}

static int pin(const struct vfio_iommu_type1_dma_map *map) {
        const volatile uint8_t *page = (const uint8_t *) (uintptr_t) map->vaddr;

        assert(map->argsz == sizeof(*map) && map->flags > 0 && map->flags < 4);
        assert(map->size > 0 && (map->size | map->iova | map->vaddr) % 4096 == 0);
        for (uint64_t at = 0; at < map->size; at += 4096)
                (void) page[at]; /* it is there */
        for (unsigned i = 0; i < n_pinned; i++)
                assert(map->iova >= pinned[i].end || map->iova + map->size <= pinned[i].begin);
        if (map->iova >= 8 * 4096) {
                errno = EINVAL;
                return -1;
        }
        assert(n_pinned < PINNED_MAX);
        pinned[n_pinned].begin = map->iova;
        pinned[n_pinned++].end = map->iova + map->size;
        pinned_bytes += map->size;
        return 0;
}

static int unpin(struct vfio_iommu_type1_dma_unmap *unmap) {
        for (unsigned i = 0; i < n_pinned; i++) {
                if (pinned[i].begin != unmap->iova)
                        continue;
                assert(pinned[i].end == unmap->iova + unmap->size);
                pinned[i] = pinned[--n_pinned];
                pinned_bytes -= unmap->size;
                return 0;
        }
        assert(!"something is removed that the device has");
        return -1;
}

int ioctl(int fd, unsigned long request, ...) {
        va_list arguments;
        void *argument;

        va_start(arguments, request);
        argument = va_arg(arguments, void *);
        va_end(arguments);
        assert(has_dma && (request == VFIO_IOMMU_MAP_DMA || request == VFIO_IOMMU_UNMAP_DMA));
        return request == VFIO_IOMMU_MAP_DMA ? pin(argument) : unpin(argument);
}

/* The client's maps with a descriptor, and no others. */
static void check_pinned(const Session *session) {
        assert(pinned_bytes == (has_dma ? session->memory.bytes : 0));
}

static uint8_t *place(unsigned pcias, uint64_t offset, size_t length) {
        if (pcias == ZPCI_SPACE_CONFIG) {
                assert(offset + length <= CONFIG_SIZE);
                return config + offset;
        }
        assert(pcias == 2 && offset + length <= BAR_SIZE);
        return bar + offset;
}

static int do_load(IoBackend *backend, unsigned pcias, uint64_t offset, void *data, size_t length) {
        assert(length >= 1 && length <= 8 && offset / 8 == (offset + length - 1) / 8);
        /* The client changes the ring while a request is executed. */
        memset(ring->entries, (int) offset, sizeof(ring->entries));
        memcpy(data, place(pcias, offset, length), length);
        return 0;
}

static int do_store(IoBackend *backend, unsigned pcias, uint64_t offset, const void *data,
                    size_t length) {
        assert(length >= 1 && (length <= 8 || length <= backend->target.max_store_block));
        assert(offset / 4096 == (offset + length - 1) / 4096 && pcias != ZPCI_SPACE_CONFIG);
        memcpy(place(pcias, offset, length), data, length);
        return 0;
}

static int read_config(IoBackend *backend, uint64_t offset, void *data, size_t length) {
        memcpy(data, place(ZPCI_SPACE_CONFIG, offset, length), length);
        return 0;
}

static int write_config(IoBackend *backend, uint64_t offset, const void *data, size_t length) {
        const uint8_t *bytes = data;

        assert(length >= 1);
        /* Bus master with DMA alone. */
        assert(has_dma || offset > 4 || offset + length <= 4 || !(bytes[4 - offset] & 4));
        memcpy(place(ZPCI_SPACE_CONFIG, offset, length), data, length);
        return 0;
}

/* Only what linux/vfio.h defines reaches the device. */
static int set_irqs(IoBackend *backend, const VfioUserIrqSet *set, IrqAction action,
                    const uint8_t *bools, int *fds) {
        assert(set->index < VFIO_USER_N_DEVICE_IRQS && set->flags < 64);
        assert((uint64_t) set->start + set->count <= backend->irqs[set->index].count);
        assert(set->count > 0 || (action == IRQ_DISABLE && set->start == 0));
        for (uint32_t i = 0; action == IRQ_ASSIGN && i < set->count; i++)
                assert(fcntl(fds[i], F_GETFD) >= 0);
        for (uint32_t i = 0; set->flags & VFIO_USER_IRQ_SET_BOOL && i < set->count; i++)
                bar[0] ^= bools[i];
        return set->start == 7 ? -EINVAL : 0;
}

static int reset(IoBackend *backend) {
        memset(bar, 0, sizeof(bar));
        return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static const uint8_t version[] = { 1, 0, 1, 0, 20, 0, 0, 0, 0, 0,
                                           0, 0, 0, 0, 0,  0, 0, 0, 0, 0 };
        static Session session;
        static Stream stream;
        uint8_t options = size > 0 ? data[0] : 0, reply[SESSION_REPLY_MAX];
        IoBackend backend = {
                .name = "fuzz",
                .device = -1,
                .target = { .bar_size = { [2] = BAR_SIZE },
                            .config_size = CONFIG_SIZE,
                            .max_store_block = options & SHORT ? 128 : 4096,
                            .relaxed = options & RELAXED,
                            .natural_loads = options & NATURAL,
                            .natural_stores = options & NATURAL },
                .load = do_load,
                .store = do_store,
                .read_config = read_config,
                .write_config = write_config,
                .set_irqs = set_irqs,
                .irqs = { { VFIO_USER_IRQ_EVENTFD | VFIO_USER_IRQ_MASKABLE, 1 },
                          { VFIO_USER_IRQ_EVENTFD, 4 },
                          { VFIO_USER_IRQ_EVENTFD, 8 },
                          { 0, 0 } },
                .reset = options & NO_RESET ? NULL : reset,
        };
        const SessionOptions about = {
                8,    UINT64_C(1) << 30, options & DMA ? DMA_TYPE1 : DMA_NONE, -1,
                true, options & SPINS
        };
        ClientFds none = { .n = 0 };
        int free_before, free_after;
        size_t reply_size;

        if (memory < 0) {
                memory = memfd_create("memory", MFD_CLOEXEC | MFD_ALLOW_SEALING);
                event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
                ring_file = memfd_create("ring", MFD_CLOEXEC | MFD_ALLOW_SEALING);
                assert(ring_file >= 0 && ftruncate(ring_file, sizeof(*ring)) == 0 &&
                       fcntl(ring_file, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) == 0);
                ring = mmap(NULL, sizeof(*ring), PROT_READ | PROT_WRITE, MAP_SHARED, ring_file, 0);
                assert(ring != MAP_FAILED);
                assert(event >= 0 && memory >= 0 && ftruncate(memory, MEMORY_SIZE) == 0);
        }
        if (size == 0)
                return 0;
        input.data = data + 1;
        input.size = size - 1;
        input.begin = input.end = 0;
        free_before = dup(STDIN_FILENO);
        close(free_before);

        memset(ring, 0, sizeof(*ring));
        has_dma = options & DMA;
        n_pinned = 0;
        pinned_bytes = 0;
        session_init(&session, &backend, &about);
        stream_init(&stream, -1);
        if (options & VERSION)
                session_handle(&session, version, sizeof(version), &none, reply, &reply_size);
        stream_serve(&stream, &session);
        check_pinned(&session);
        session_end(&session);
        notifier_set(&session.notifier, -1); /* the end of the process closes it */
        ring_close(&session.ring);
        stream_close(&stream);

        free_after = dup(STDIN_FILENO);
        close(free_after);
        assert(free_before == free_after);
        return 0;
}
