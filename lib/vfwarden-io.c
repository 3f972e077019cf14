#include "lib/vfwarden-io.h"

#include "policy/vfio-user.h"
#include "policy/zpci-request.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <systemd/sd-bus.h>
#include <unistd.h>

#define _public_            __attribute__((visibility("default")))
#define _cleanup_(function) __attribute__((cleanup(function)))

#define ELEMENTS(array)     (sizeof(array) / sizeof(*(array)))

#define BUS_NAME            "org.vfwarden1"
#define OBJECT_PREFIX       "/org/vfwarden1/function"
#define INTERFACE           "org.vfwarden1.ZpciIo"
/* Somebody may have to type a password. */
#define OPEN_TIMEOUT_USEC (120 * UINT64_C(1000000))

struct VfwardenIo {
        int socket;
        int notice_fd; /* -1 as long as nobody asked */
        uint16_t id;   /* of the last message */
        char backend[16];
        uint16_t max_store_block;
        bool relaxed;
        uint64_t size[ZPCI_N_BARS];
        uint64_t config_size;
};

static void free_string(char **s) {
        free(*s);
}

static void close_fd(int *fd) {
        if (*fd >= 0)
                close(*fd);
}

/* A request in the making: its fixed part, what follows, and a descriptor that goes along, -1
 * none. */
typedef struct Request {
        VfioUserCommand command;
        const void *fixed, *data;
        size_t fixed_size, data_size;
        int fd;
} Request;

/* Waits where that is what has to be done: a socket that somebody gave us may be one that does
 * not. */
static bool may_go_on(const VfwardenIo *io, short events) {
        struct pollfd poll_fd = { .fd = io->socket, .events = events };

        if (errno == EAGAIN)
                return poll(&poll_fd, 1, -1) >= 0 || errno == EINTR;
        return errno == EINTR;
}

static int send_request(VfwardenIo *io, const Request *request) {
        _Alignas(struct cmsghdr) uint8_t control[CMSG_SPACE(sizeof(int))] = { 0 };
        VfioUserHeader header = {
                .id = ++io->id,
                .command = (uint16_t) request->command,
                .size = (uint32_t) (sizeof(header) + request->fixed_size + request->data_size),
        };
        struct iovec iov[] = {
                { &header, sizeof(header) },
                { (void *) request->fixed, request->fixed_size },
                { (void *) request->data, request->data_size },
        };
        struct msghdr message = { .msg_iov = iov, .msg_iovlen = ELEMENTS(iov) };
        size_t left = header.size;

        if (request->fd >= 0) {
                struct cmsghdr *rights = (void *) control;

                rights->cmsg_level = SOL_SOCKET;
                rights->cmsg_type = SCM_RIGHTS;
                rights->cmsg_len = CMSG_LEN(sizeof(int));
                memcpy(CMSG_DATA(rights), &request->fd, sizeof(int));
                message.msg_control = control;
                message.msg_controllen = sizeof(control);
        }
        while (left > 0) {
                ssize_t n = sendmsg(io->socket, &message, MSG_NOSIGNAL);

                if (n < 0 && may_go_on(io, POLLOUT))
                        continue;
                if (n < 0)
                        return -ECONNRESET;
                left -= (size_t) n;
                message.msg_control = NULL;
                message.msg_controllen = 0;
                for (size_t sent = (size_t) n; message.msg_iovlen > 0;) {
                        size_t part =
                                sent < message.msg_iov->iov_len ? sent : message.msg_iov->iov_len;

                        message.msg_iov->iov_base = (uint8_t *) message.msg_iov->iov_base + part;
                        message.msg_iov->iov_len -= part;
                        sent -= part;
                        if (message.msg_iov->iov_len > 0)
                                break;
                        message.msg_iov++;
                        message.msg_iovlen--;
                }
        }
        return 0;
}

static int receive(VfwardenIo *io, void *data, size_t size) {
        for (size_t have = 0; have < size;) {
                ssize_t n = recv(io->socket, (uint8_t *) data + have, size - have, 0);

                if (n < 0 && may_go_on(io, POLLIN))
                        continue;
                if (n <= 0)
                        return -ECONNRESET;
                have += (size_t) n;
        }
        return 0;
}

/* Nothing that comes after this could be understood. */
static int give_up(VfwardenIo *io) {
        shutdown(io->socket, SHUT_RDWR);
        return -EPROTO;
}

/* Sends a request and waits for its reply, whose payload, from `least` to `most` bytes, is written
 * to `reply`. Returns how many there were, or a negative errno, which may be the other side's
 * answer. */
static int ask(VfwardenIo *io, const Request *request, void *reply, size_t least, size_t most) {
        VfioUserHeader header;
        size_t size;
        int r;

        r = send_request(io, request);
        if (r >= 0)
                r = receive(io, &header, sizeof(header));
        if (r < 0)
                return r;
        if (header.id != io->id || header.command != request->command ||
            (header.flags & VFIO_USER_FLAG_TYPE) != VFIO_USER_FLAG_REPLY ||
            header.size < sizeof(header))
                return give_up(io);
        size = header.size - sizeof(header);
        if (header.flags & VFIO_USER_FLAG_ERROR)
                return size == 0 && header.error > 0 && header.error < 4096 ? -(int) header.error
                                                                            : give_up(io);
        if (size < least || size > most)
                return give_up(io);
        r = receive(io, reply, size);
        return r < 0 ? r : (int) size;
}

static int ask_version(VfwardenIo *io) {
        static const VfioUserVersion ours = { VFIO_USER_MAJOR, VFIO_USER_MINOR };
        Request request = { VFIO_USER_VERSION, &ours, NULL, sizeof(ours), 0, -1 };
        uint8_t reply[sizeof(VfioUserVersion) + VFIO_USER_DATA_MAX];
        VfioUserVersion version;
        int r;

        r = ask(io, &request, reply, sizeof(version), sizeof(reply));
        if (r < 0)
                return r;
        memcpy(&version, reply, sizeof(version));
        return version.major == VFIO_USER_MAJOR ? 0 : give_up(io);
}

static int ask_region_size(VfwardenIo *io, uint32_t index, uint64_t *ret) {
        VfioUserRegionInfo info = { .argsz = sizeof(info), .index = index };
        Request request = { VFIO_USER_GET_REGION_INFO, &info, NULL, sizeof(info), 0, -1 };
        int r;

        r = ask(io, &request, &info, sizeof(info), sizeof(info));
        if (r >= 0)
                *ret = info.size;
        return r < 0 ? r : 0;
}

/* `data` is written by a read and read by a write. */
static int access_region(VfwardenIo *io, bool write, uint32_t region, uint64_t offset, void *data,
                         size_t length) {
        uint8_t reply[sizeof(VfioUserRegionAccess) + VFIO_USER_DATA_MAX];
        VfioUserRegionAccess access = { offset, region, (uint32_t) length };
        Request request = {
                write ? VFIO_USER_REGION_WRITE : VFIO_USER_REGION_READ,
                &access,
                data,
                sizeof(access),
                write ? length : 0,
                -1,
        };
        size_t expected = sizeof(access) + (write ? 0 : length);
        int r;

        if (length == 0 || length > VFIO_USER_DATA_MAX)
                return -EINVAL;
        r = ask(io, &request, reply, expected, expected);
        if (r < 0)
                return r;
        if (memcmp(reply, &access, sizeof(access)) != 0)
                return give_up(io);
        if (!write)
                memcpy(data, reply + sizeof(access), length);
        return 0;
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
        io->notice_fd = -1;
        r = ask_version(io);
        for (uint32_t i = 0; r >= 0 && i < ZPCI_N_BARS; i++)
                r = ask_region_size(io, i, &io->size[i]);
        if (r >= 0)
                r = ask_region_size(io, VFIO_USER_REGION_CONFIG, &io->config_size);
        if (r >= 0)
                r = access_region(io, false, VFIO_USER_REGION_ZPCI, 0, &header, sizeof(header));
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

static int call_open_session(sd_bus *bus, const char *path, sd_bus_error *ret_error,
                             sd_bus_message **ret) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL;
        int r;

        r = sd_bus_message_new_method_call(bus, &call, BUS_NAME, path, INTERFACE, "OpenSession");
        if (r >= 0)
                r = sd_bus_message_append(call, "a{sv}", 0);
        if (r >= 0)
                r = sd_bus_message_set_allow_interactive_authorization(call, true);
        if (r >= 0)
                r = sd_bus_call(bus, call, OPEN_TIMEOUT_USEC, ret_error, ret);
        return r;
}

_public_ int vfwarden_io_open(const char *address, char **ret_why, VfwardenIo **ret) {
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
                r = call_open_session(bus, path, &error, &answer);
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
        return access_region(io, false, region, offset, data, length);
}

_public_ int vfwarden_io_store(VfwardenIo *io, unsigned pcias, uint64_t offset, const void *data,
                               size_t length) {
        if (pcias >= ZPCI_N_BARS)
                return -EINVAL;
        return access_region(io, true, pcias, offset, (void *) data, length);
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
        Request request = { VFIO_USER_DMA_MAP, &map, NULL, sizeof(map), 0, fd };
        int r;

        if (flags < 0)
                return -errno;
        if ((flags & O_ACCMODE) == O_RDWR)
                map.flags |= VFIO_USER_DMA_WRITE;
        r = ask(io, &request, NULL, 0, 0);
        return r < 0 ? r : 0;
}

_public_ int vfwarden_io_unmap(VfwardenIo *io, uint64_t gaddr, uint64_t size) {
        VfioUserDmaUnmap unmap = { .argsz = sizeof(unmap), .address = gaddr, .size = size };
        Request request = { VFIO_USER_DMA_UNMAP, &unmap, NULL, sizeof(unmap), 0, -1 };
        int r = ask(io, &request, &unmap, sizeof(unmap), sizeof(unmap));

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
        return access_region(io, true, VFIO_USER_REGION_ZPCI, ZPCI_REGION_REQUEST_OFFSET, &request,
                             sizeof(request));
}

_public_ int vfwarden_io_notice_fd(VfwardenIo *io) {
        VfioUserIrqSet set = {
                .argsz = sizeof(set),
                .flags = VFIO_USER_IRQ_SET_EVENTFD | VFIO_USER_IRQ_SET_TRIGGER,
                .index = VFIO_USER_IRQ_REQUEST,
                .count = 1,
        };
        Request request = { VFIO_USER_SET_IRQS, &set, NULL, sizeof(set), 0, -1 };
        int r;

        if (io->notice_fd >= 0)
                return io->notice_fd;
        request.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (request.fd < 0)
                return -errno;
        r = ask(io, &request, NULL, 0, 0);
        if (r < 0) {
                close(request.fd);
                return r;
        }
        io->notice_fd = request.fd;
        return io->notice_fd;
}
