#include "lib/connection.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#define ELEMENTS(array) (sizeof(array) / sizeof(*(array)))

/* Waits where that is what has to be done: a socket that somebody gave us may be one that does
 * not. */
static bool may_go_on(const VfwardenIo *io, short events) {
        struct pollfd poll_fd = { .fd = io->socket, .events = events };

        if (errno == EAGAIN)
                return poll(&poll_fd, 1, -1) >= 0 || errno == EINTR;
        return errno == EINTR;
}

static int send_request(VfwardenIo *io, const Request *request) {
        _Alignas(struct cmsghdr) uint8_t control[CMSG_SPACE(REQUEST_FDS_MAX * sizeof(int))] = { 0 };
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

        if (request->n_fds > 0) {
                struct cmsghdr *rights = (void *) control;

                rights->cmsg_level = SOL_SOCKET;
                rights->cmsg_type = SCM_RIGHTS;
                rights->cmsg_len = CMSG_LEN(request->n_fds * sizeof(int));
                memcpy(CMSG_DATA(rights), request->fds, request->n_fds * sizeof(int));
                message.msg_control = control;
                message.msg_controllen = CMSG_SPACE(request->n_fds * sizeof(int));
        }
        /* A session that looks at the ring alone looks at the socket then. */
        if (io->ring.memory)
                __atomic_fetch_add(&io->ring.memory->client.messages, 1, __ATOMIC_RELEASE);
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

int connection_give_up(VfwardenIo *io) {
        io->ring.is_off = true;
        shutdown(io->socket, SHUT_RDWR);
        return -EPROTO;
}

int connection_ask(VfwardenIo *io, const Request *request, void *reply, size_t least, size_t most) {
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
                return connection_give_up(io);
        size = header.size - sizeof(header);
        if (header.flags & VFIO_USER_FLAG_ERROR)
                return size == 0 && header.error > 0 && header.error < 4096
                               ? -(int) header.error
                               : connection_give_up(io);
        if (size < least || size > most)
                return connection_give_up(io);
        r = receive(io, reply, size);
        return r < 0 ? r : (int) size;
}

int connection_order(VfwardenIo *io, const Request *request) {
        int r = connection_ask(io, request, NULL, 0, 0);

        return r < 0 ? r : 0;
}

int connection_access(VfwardenIo *io, bool write, uint32_t region, uint64_t offset, void *data,
                      size_t length) {
        uint8_t reply[sizeof(VfioUserRegionAccess) + VFIO_USER_DATA_MAX];
        VfioUserRegionAccess access = { offset, region, (uint32_t) length };
        Request request = {
                write ? VFIO_USER_REGION_WRITE : VFIO_USER_REGION_READ,
                &access,
                data,
                sizeof(access),
                write ? length : 0,
                NULL,
                0,
        };
        size_t expected = sizeof(access) + (write ? 0 : length);
        int r;

        if (length == 0 || length > VFIO_USER_DATA_MAX)
                return -EINVAL;
        r = connection_ask(io, &request, reply, expected, expected);
        if (r < 0)
                return r;
        if (memcmp(reply, &access, sizeof(access)) != 0)
                return connection_give_up(io);
        if (!write)
                memcpy(data, reply + sizeof(access), length);
        return 0;
}
