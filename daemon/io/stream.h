/* stream.h: the client's socket: bytes and descriptors in, replies out.
 *
 * Owns two fixed buffers. Whole messages are executed in order and answered by one send. A client
 * that makes one request at a time has its answer after two system calls; a client that sends many
 * at once pays them once for all. No more is read before the replies have been received, so a
 * client that does not read has to wait, and limits its own requests by that. */
#pragma once

#include "daemon/io/session.h"

#define STREAM_IN_SIZE  (64U * 1024U)
#define STREAM_OUT_SIZE (64U * 1024U)

typedef struct Stream {
        int socket;
        uint8_t in[STREAM_IN_SIZE];
        size_t begin, end; /* of what has been received and not executed */
        ClientFds fds;     /* that came with the byte before `fds_end`, or before that */
        size_t fds_end;
        uint8_t out[STREAM_OUT_SIZE];
        size_t out_size;
} Stream;

void stream_init(Stream *stream, int socket);

/* Serves until the client has gone, which is 0, or has broken the protocol: -EBADMSG, -EMSGSIZE (a
 * size that cannot be) or -EPROTONOSUPPORT. Between messages it serves the client's ring. */
int stream_serve(Stream *stream, Session *session);

/* Closes descriptors that are left over; that may wait for ever, for they are the client's: the
 * device comes before. */
void stream_close(Stream *stream);

/* Executes what is whole of what has been received. Returns as stream_serve() does; -EPIPE when the
 * client does not take the replies. Of its own for the fuzzer. */
int stream_execute(Stream *stream, Session *session);
