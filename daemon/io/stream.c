#include "daemon/io/stream.h"

#include "daemon/io/util.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

/* Linux 6.5; not in the C library of Debian 12. */
#ifndef SCM_PIDFD
#define SCM_PIDFD 0x04
#endif

/* A message and a half always have room. */
static_assert(STREAM_IN_SIZE > 2 * VFIO_USER_MESSAGE_MAX, "buffer");
static_assert(STREAM_OUT_SIZE >= SESSION_REPLY_MAX, "buffer");

void stream_init(Stream *stream, int socket) {
        stream->socket = socket;
        stream->begin = stream->end = stream->out_size = 0;
        stream->fds.n = 0;
        stream->fds.too_many = false;
}

static bool has_fds(const Stream *stream) {
        return stream->fds.n > 0 || stream->fds.too_many;
}

static int send_replies(Stream *stream) {
        size_t sent = 0;

        while (sent < stream->out_size) {
                ssize_t n = send(stream->socket, stream->out + sent, stream->out_size - sent,
                                 MSG_NOSIGNAL);

                if (n < 0 && errno != EINTR)
                        return -EPIPE;
                if (n > 0)
                        sent += (size_t) n;
        }
        stream->out_size = 0;
        return 0;
}

/* A size that cannot be: where the next message begins is not known, so this is the last answer. */
static int refuse_rest(Stream *stream, int error) {
        VfioUserHeader header;

        memcpy(&header, stream->in + stream->begin, sizeof(header));
        if (vfio_user_wants_reply(&header)) {
                header = vfio_user_reply(&header, error == -EMSGSIZE ? EMSGSIZE : EINVAL, 0);
                memcpy(stream->out + stream->out_size, &header, sizeof(header));
                stream->out_size += sizeof(header);
        }
        return send_replies(stream) < 0 ? -EPIPE : error;
}

int stream_execute(Stream *stream, Session *session) {
        int64_t size;

        for (;;) {
                ClientFds none = { .n = 0 };
                size_t reply_size;
                bool owns_fds;
                int r;

                if (stream->out_size > sizeof(stream->out) - SESSION_REPLY_MAX) {
                        r = send_replies(stream);
                        if (r < 0)
                                return r;
                }
                size = vfio_user_message_size(stream->in + stream->begin,
                                              stream->end - stream->begin);
                if (size < 0)
                        return refuse_rest(stream, (int) size);
                if (size == 0 || stream->end - stream->begin < (size_t) size)
                        break;

                owns_fds = has_fds(stream) && stream->fds_end <= stream->begin + (size_t) size;
                r = session_handle(session, stream->in + stream->begin, (size_t) size,
                                   owns_fds ? &stream->fds : &none, stream->out + stream->out_size,
                                   &reply_size);
                stream->out_size += reply_size;
                stream->begin += (size_t) size;
                if (r < 0)
                        return send_replies(stream) < 0 ? -EPIPE : r;
        }

        /* The rest is less than one message. */
        memmove(stream->in, stream->in + stream->begin, stream->end - stream->begin);
        stream->fds_end -= has_fds(stream) ? stream->begin : stream->fds_end;
        stream->end -= stream->begin;
        stream->begin = 0;
        return send_replies(stream);
}

/* How much may be received. While descriptors wait for the rest of their message, no more than
 * that: another one that comes later is then another message's, and the kernel parts what comes
 * with different descriptors. */
static size_t room(const Stream *stream) {
        int64_t size;

        if (!has_fds(stream))
                return sizeof(stream->in) - stream->end;
        size = vfio_user_message_size(stream->in, stream->end);
        return (size > 0 ? (size_t) size : sizeof(VfioUserHeader)) - stream->end;
}

static void take_descriptors(Stream *stream, const struct cmsghdr *control) {
        unsigned n = (unsigned) ((control->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        ClientFds *fds = &stream->fds;

        for (unsigned i = 0; i < n; i++) {
                int fd;

                memcpy(&fd, CMSG_DATA(control) + i * sizeof(fd), sizeof(fd));
                if (control->cmsg_type == SCM_PIDFD) {
                        closep(&fd);
                } else if (fds->n < CLIENT_FDS_MAX) {
                        fds->fds[fds->n++] = fd;
                } else {
                        closep(&fd);
                        fds->too_many = true;
                }
        }
}

/* A client that made the listening socket decides what else comes: a connection inherits
 * SO_PASSCRED, SO_PASSSEC and SO_PASSPIDFD (unix_sock_inherit_flags()), and all of that precedes
 * the descriptors. */
static void take_control(Stream *stream, struct msghdr *message) {
        if (message->msg_flags & MSG_CTRUNC)
                stream->fds.too_many = true;
        for (struct cmsghdr *control = CMSG_FIRSTHDR(message); control;
             control = CMSG_NXTHDR(message, control))
                if (control->cmsg_level == SOL_SOCKET &&
                    (control->cmsg_type == SCM_RIGHTS || control->cmsg_type == SCM_PIDFD))
                        take_descriptors(stream, control);
        if (has_fds(stream))
                stream->fds_end = stream->end;
}

int stream_serve(Stream *stream, Session *session) {
        for (;;) {
                _Alignas(struct cmsghdr) uint8_t control[CMSG_SPACE(CLIENT_FDS_MAX * sizeof(int))];
                struct iovec iov = { stream->in + stream->end, room(stream) };
                struct msghdr message = {
                        .msg_iov = &iov,
                        .msg_iovlen = 1,
                        .msg_control = control,
                        /* Not CMSG_SPACE(): in its padding the kernel would put one more. */
                        .msg_controllen = CMSG_LEN(CLIENT_FDS_MAX * sizeof(int)),
                };
                bool has_ring;
                ssize_t n;
                int r;

                r = session_serve_ring(session, stream->socket, &has_ring);
                if (r < 0)
                        return r;
                n = recvmsg(stream->socket, &message,
                            MSG_CMSG_CLOEXEC | (has_ring ? MSG_DONTWAIT : 0));
                if (n < 0 && (errno == EINTR || (has_ring && errno == EAGAIN)))
                        continue;
                if (n <= 0) /* a reset is a client that has gone, too */
                        break;
                stream->end += (size_t) n;
                if (message.msg_controllen > 0 || message.msg_flags & MSG_CTRUNC)
                        take_control(stream, &message);
                r = stream_execute(stream, session);
                if (r < 0)
                        return r == -EPIPE ? 0 : r;
        }
        return 0;
}

void stream_close(Stream *stream) {
        client_fds_close(&stream->fds);
}
