#include "lib/vfwarden-io.h"

#include "lib/connection.h"
#include "lib/ring.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <systemd/sd-bus.h>
#include <unistd.h>

#define _cleanup_(function) __attribute__((cleanup(function)))

#define ELEMENTS(array)     (sizeof(array) / sizeof(*(array)))

#define BUS_NAME            "org.vfwarden1"
#define OBJECT_PREFIX       "/org/vfwarden1/function"
#define INTERFACE           "org.vfwarden1.ZpciIo"
/* Somebody may have to type a password. */
#define OPEN_TIMEOUT_USEC (120 * UINT64_C(1000000))

static void free_string(char **s) {
        free(*s);
}

static void close_fd(int *fd) {
        if (*fd >= 0)
                close(*fd);
}

static int ask_version(VfwardenIo *io) {
        static const VfioUserVersion ours = { VFIO_USER_MAJOR, VFIO_USER_MINOR };
        static const char text[] = "{\"capabilities\":{" IO_RING_CAPABILITY ":{}}}";
        Request request = { VFIO_USER_VERSION, &ours, text, sizeof(ours), sizeof(text), NULL, 0 };
        uint8_t reply[sizeof(VfioUserVersion) + VFIO_USER_DATA_MAX];
        VfioUserVersion version;
        int r;

        r = connection_ask(io, &request, reply, sizeof(version), sizeof(reply));
        if (r < 0)
                return r;
        memcpy(&version, reply, sizeof(version));
        io->ring.offered = io_ring_is_asked(reply + sizeof(version), (size_t) r - sizeof(version));
        return version.major == VFIO_USER_MAJOR ? 0 : connection_give_up(io);
}

static int ask_region_size(VfwardenIo *io, uint32_t index, uint64_t *ret) {
        VfioUserRegionInfo info = { .argsz = sizeof(info), .index = index };
        Request request = { VFIO_USER_GET_REGION_INFO, &info, NULL, sizeof(info), 0, NULL, 0 };
        int r;

        r = connection_ask(io, &request, &info, sizeof(info), sizeof(info));
        if (r >= 0)
                *ret = info.size;
        return r < 0 ? r : 0;
}

_public_ int vfwarden_io_open_socket(int fd, VfwardenIo **ret) {
        VfwardenIo *io = calloc(1, sizeof(*io));
        ZpciRegionHeader header;
        int r;

        if (!io) {
                close(fd);
                return -ENOMEM;
        }
        io->socket = fd;
        io->notice_fd = io->ring.requests = io->ring.replies = -1;
        r = ask_version(io);
        for (uint32_t i = 0; r >= 0 && i < ZPCI_N_BARS; i++)
                r = ask_region_size(io, i, &io->size[i]);
        if (r >= 0)
                r = ask_region_size(io, VFIO_USER_REGION_CONFIG, &io->config_size);
        if (r >= 0)
                r = connection_access(io, false, VFIO_USER_REGION_ZPCI, 0, &header, sizeof(header));
        if (r < 0) {
                vfwarden_io_close(io);
                return r;
        }
        io->max_store_block = header.max;
        *ret = io;
        return 0;
}

_public_ VfwardenIo *vfwarden_io_close(VfwardenIo *io) {
        if (!io)
                return NULL;
        close_fd(&io->socket);
        close_fd(&io->notice_fd);
        ring_free(&io->ring);
        free(io);
        return NULL;
}

static int open_errno(const sd_bus_error *error) {
        static const struct {
                const char *name;
                int error;
        } table[] = {
                { SD_BUS_ERROR_ACCESS_DENIED, -EACCES },
                { SD_BUS_ERROR_INTERACTIVE_AUTHORIZATION_REQUIRED, -EACCES },
                { SD_BUS_ERROR_LIMITS_EXCEEDED, -EDQUOT },
                { SD_BUS_ERROR_UNKNOWN_OBJECT, -ENODEV },
                { BUS_NAME ".Error.NoSuchFunction", -ENODEV },
                { BUS_NAME ".Error.Gone", -ENODEV },
                { BUS_NAME ".Error.Refused", -EBUSY },
                { BUS_NAME ".Error.Busy", -EAGAIN },
                { BUS_NAME ".Error.Timeout", -ETIMEDOUT },
                { BUS_NAME ".Error.NotSupported", -EOPNOTSUPP },
                { SD_BUS_ERROR_UNKNOWN_INTERFACE, -EOPNOTSUPP },
                { SD_BUS_ERROR_UNKNOWN_METHOD, -EOPNOTSUPP },
        };

        for (size_t i = 0; i < ELEMENTS(table); i++)
                if (sd_bus_error_has_name(error, table[i].name))
                        return table[i].error;
        return -ECOMM;
}

/* OpenSession()'s answer: the socket, which is ours now, and what the session can do. */
static int read_answer(sd_bus_message *answer, char *ret_backend, size_t backend_size,
                       bool *ret_relaxed, int *ret_fd) {
        const char *key, *backend;
        int fd, relaxed, r;

        r = sd_bus_message_read(answer, "h", &fd);
        if (r >= 0)
                r = sd_bus_message_enter_container(answer, 'a', "{sv}");
        while (r >= 0 && (r = sd_bus_message_enter_container(answer, 'e', "sv")) > 0) {
                r = sd_bus_message_read(answer, "s", &key);
                if (r >= 0 && strcmp(key, "backend") == 0) {
                        r = sd_bus_message_read(answer, "v", "s", &backend);
                        if (r >= 0)
                                strncpy(ret_backend, backend, backend_size - 1);
                } else if (r >= 0 && strcmp(key, "relaxed") == 0) {
                        r = sd_bus_message_read(answer, "v", "b", &relaxed);
                        *ret_relaxed = r >= 0 && relaxed;
                } else if (r >= 0) {
                        r = sd_bus_message_skip(answer, "v");
                }
                if (r >= 0)
                        r = sd_bus_message_exit_container(answer);
        }
        if (r < 0)
                return -EPROTO;
        *ret_fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        return *ret_fd < 0 ? -errno : 0;
}

/* What a session is to have; none of it is said of a plain one, which every daemon knows. */
typedef struct Wishes {
        bool dma;
        uint64_t max_memory; /* bytes; 0: what the daemon gives */
} Wishes;

static int append_wishes(sd_bus_message *call, const Wishes *wishes) {
        int r = sd_bus_message_open_container(call, 'a', "{sv}");

        if (r >= 0 && wishes->dma)
                r = sd_bus_message_append(call, "{sv}", "dma", "b", 1);
        if (r >= 0 && wishes->max_memory > 0)
                r = sd_bus_message_append(call, "{sv}", "max-mapped-memory", "t",
                                          wishes->max_memory);
        return r < 0 ? r : sd_bus_message_close_container(call);
}

static int call_open_session(sd_bus *bus, const char *path, const Wishes *wishes,
                             sd_bus_error *ret_error, sd_bus_message **ret) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL;
        int r;

        r = sd_bus_message_new_method_call(bus, &call, BUS_NAME, path, INTERFACE, "OpenSession");
        if (r >= 0)
                r = append_wishes(call, wishes);
        if (r >= 0)
                r = sd_bus_message_set_allow_interactive_authorization(call, true);
        if (r >= 0)
                r = sd_bus_call(bus, call, OPEN_TIMEOUT_USEC, ret_error, ret);
        return r;
}

static int open_by_address(const char *address, const Wishes *wishes, char **ret_why,
                           VfwardenIo **ret) {
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *answer = NULL;
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        _cleanup_(free_string) char *path = NULL;
        char backend[sizeof((*ret)->backend)] = "";
        bool relaxed = false;
        int fd, r;

        if (ret_why)
                *ret_why = NULL;
        r = sd_bus_path_encode(OBJECT_PREFIX, address, &path);
        if (r >= 0)
                r = sd_bus_open_system(&bus);
        if (r < 0) {
                sd_bus_error_set_errno(&error, r);
                r = -ECOMM;
        } else {
                r = call_open_session(bus, path, wishes, &error, &answer);
                if (r < 0)
                        r = open_errno(&error);
        }
        if (r < 0) {
                if (ret_why && error.message)
                        *ret_why = strdup(error.message);
                return r;
        }
        r = read_answer(answer, backend, sizeof(backend), &relaxed, &fd);
        if (r >= 0)
                r = vfwarden_io_open_socket(fd, ret);
        if (r < 0)
                return r;
        memcpy((*ret)->backend, backend, sizeof(backend));
        (*ret)->relaxed = relaxed;
        return 0;
}

_public_ int vfwarden_io_open(const char *address, char **ret_why, VfwardenIo **ret) {
        static const Wishes none;

        return open_by_address(address, &none, ret_why, ret);
}

_public_ int vfwarden_io_open_dma(const char *address, uint64_t max_memory, char **ret_why,
                                  VfwardenIo **ret) {
        const Wishes wishes = { .dma = true, .max_memory = max_memory };

        return open_by_address(address, &wishes, ret_why, ret);
}

_public_ const char *vfwarden_io_backend(const VfwardenIo *io) {
        return io->backend;
}

_public_ size_t vfwarden_io_max_store_block(const VfwardenIo *io) {
        return io->max_store_block;
}

_public_ bool vfwarden_io_relaxed(const VfwardenIo *io) {
        return io->relaxed;
}

_public_ uint64_t vfwarden_io_size(const VfwardenIo *io, unsigned pcias) {
        if (pcias == VFWARDEN_IO_CONFIG)
                return io->config_size;
        return pcias < ZPCI_N_BARS ? io->size[pcias] : 0;
}

_public_ int vfwarden_io_load(VfwardenIo *io, unsigned pcias, uint64_t offset, void *data,
                              size_t length) {
        uint32_t region = pcias == VFWARDEN_IO_CONFIG ? VFIO_USER_REGION_CONFIG : pcias;

        if (pcias >= ZPCI_N_BARS && pcias != VFWARDEN_IO_CONFIG)
                return -EINVAL;
        if (pcias < ZPCI_N_BARS && ring_takes(io, length))
                return ring_access(io, false, region, offset, data, length);
        return connection_access(io, false, region, offset, data, length);
}

_public_ int vfwarden_io_store(VfwardenIo *io, unsigned pcias, uint64_t offset, const void *data,
                               size_t length) {
        if (pcias >= ZPCI_N_BARS)
                return -EINVAL;
        if (ring_takes(io, length))
                return ring_access(io, true, pcias, offset, (void *) data, length);
        return connection_access(io, true, pcias, offset, (void *) data, length);
}

_public_ void vfwarden_io_use_ring(VfwardenIo *io, bool use) {
        io->ring.is_off = !use;
}

_public_ int vfwarden_io_map(VfwardenIo *io, uint64_t gaddr, uint64_t size, int fd,
                             uint64_t offset) {
        int flags = fcntl(fd, F_GETFL);
        VfioUserDmaMap map = {
                .argsz = sizeof(map),
                .flags = VFIO_USER_DMA_READ,
                .offset = offset,
                .address = gaddr,
                .size = size,
        };
        Request request = { VFIO_USER_DMA_MAP, &map, NULL, sizeof(map), 0, &fd, 1 };
        int r;

        if (flags < 0)
                return -errno;
        if ((flags & O_ACCMODE) == O_RDWR)
                map.flags |= VFIO_USER_DMA_WRITE;
        r = connection_ask(io, &request, NULL, 0, 0);
        return r < 0 ? r : 0;
}

_public_ int vfwarden_io_unmap(VfwardenIo *io, uint64_t gaddr, uint64_t size) {
        VfioUserDmaUnmap unmap = { .argsz = sizeof(unmap), .address = gaddr, .size = size };
        Request request = { VFIO_USER_DMA_UNMAP, &unmap, NULL, sizeof(unmap), 0, NULL, 0 };
        int r = connection_ask(io, &request, &unmap, sizeof(unmap), sizeof(unmap));

        return r < 0 ? r : 0;
}

_public_ int vfwarden_io_store_block(VfwardenIo *io, unsigned pcias, uint64_t offset,
                                     uint64_t gaddr, size_t length) {
        ZpciRegionRequest request = {
                .flags = ZPCI_REQUEST_STORE_BLOCK,
                .gaddr = gaddr,
                .offset = offset,
                .length = (uint16_t) length,
                .pcias = (uint8_t) pcias,
        };

        if (length > UINT16_MAX || pcias > UINT8_MAX)
                return -EINVAL;
        return connection_access(io, true, VFIO_USER_REGION_ZPCI, ZPCI_REGION_REQUEST_OFFSET,
                                 &request, sizeof(request));
}

_public_ int vfwarden_io_notice_fd(VfwardenIo *io) {
        VfioUserIrqSet set = {
                .argsz = sizeof(set),
                .flags = VFIO_USER_IRQ_SET_EVENTFD | VFIO_USER_IRQ_SET_TRIGGER,
                .index = VFIO_USER_IRQ_REQUEST,
                .count = 1,
        };
        int fd = -1, r;
        Request request = { VFIO_USER_SET_IRQS, &set, NULL, sizeof(set), 0, &fd, 1 };

        if (io->notice_fd >= 0)
                return io->notice_fd;
        fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (fd < 0)
                return -errno;
        r = connection_order(io, &request);
        if (r < 0) {
                close(fd);
                return r;
        }
        io->notice_fd = fd;
        return fd;
}
