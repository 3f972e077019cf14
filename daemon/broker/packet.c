#include "daemon/broker/packet.h"

#include "daemon/base/util.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

int packet_send(int socket, const void *data, size_t size, const int *fds, unsigned n_fds) {
        char control[CMSG_SPACE(PACKET_FDS_MAX * sizeof(int))] = { 0 };
        struct iovec iov = { .iov_base = (void *) data, .iov_len = size };
        struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };

        if (n_fds > 0) {
                struct cmsghdr *header;

                message.msg_control = control;
                message.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
                header = CMSG_FIRSTHDR(&message);
                header->cmsg_level = SOL_SOCKET;
                header->cmsg_type = SCM_RIGHTS;
                header->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
                memcpy(CMSG_DATA(header), fds, n_fds * sizeof(int));
        }
        return sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

void packet_clear(Packet *packet) {
        for (unsigned i = 0; i < packet->n_fds; i++)
                closep(&packet->fds[i]);
        packet->n_fds = 0;
}

/* Takes the descriptors of one header. Returns 0, or -EBADMSG when they are too many. */
static int take_fds(const struct cmsghdr *header, Packet *packet) {
        size_t size = header->cmsg_len - CMSG_LEN(0);
        const unsigned char *data = CMSG_DATA(header);
        int r = 0;

        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
                return -EBADMSG;
        for (size_t i = 0; i + sizeof(int) <= size; i += sizeof(int)) {
                int fd;

                memcpy(&fd, data + i, sizeof(fd));
                if (packet->n_fds < PACKET_FDS_MAX)
                        packet->fds[packet->n_fds++] = fd;
                else {
                        close(fd);
                        r = -EBADMSG;
                }
        }
        return r;
}

int packet_receive(int socket, void *buffer, size_t size, int flags, Packet *ret) {
        /* Aligned as its first member. */
        union {
                struct cmsghdr header;
                char space[CMSG_SPACE(PACKET_FDS_MAX * sizeof(int))];
        } control;
        struct iovec iov = { .iov_base = buffer, .iov_len = size };
        struct msghdr message = { .msg_iov = &iov,
                                  .msg_iovlen = 1,
                                  .msg_control = &control,
                                  .msg_controllen = sizeof(control) };
        Packet packet = { 0 };
        ssize_t n = recvmsg(socket, &message, flags | MSG_CMSG_CLOEXEC);
        int r = 0;

        if (n < 0)
                return -errno;
        packet.size = (size_t) n;
        for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header && r >= 0;
             header = CMSG_NXTHDR(&message, header))
                r = take_fds(header, &packet);
        /* The kernel has closed those for which there was no room (scm_detach_fds()). */
        if (message.msg_flags & MSG_CTRUNC)
                r = -EBADMSG;
        if (r < 0) {
                packet_clear(&packet);
                return r;
        }
        *ret = packet;
        return 0;
}
