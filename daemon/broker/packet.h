/* packet.h: one packet on a socket of type SOCK_SEQPACKET, with descriptors.
 *
 * Owns nothing. What comes is judged by policy/spawn-order.h. Always holds: a packet is taken with
 * all its descriptors or not at all, and none that came is left open by mistake. */
#pragma once

#include <stddef.h>
#include <sys/types.h>

#define PACKET_FDS_MAX 4

typedef struct Packet {
        size_t size; /* of what was written to the buffer */
        int fds[PACKET_FDS_MAX];
        unsigned n_fds;
} Packet;

/* Does not wait. The descriptors stay the caller's. Returns 0 or a negative errno. */
int packet_send(int socket, const void *data, size_t size, const int *fds, unsigned n_fds);

/* `buffer` has room for one byte more than the packet may have, so that a longer one is seen to be.
 * `flags` as of recvmsg(2). Returns 0 with a size of 0 when the other end is closed; -EAGAIN;
 * -EBADMSG for more descriptors than there may be, or other things than descriptors; or another
 * negative errno. */
int packet_receive(int socket, void *buffer, size_t size, int flags, Packet *ret);

/* Closes the descriptors that nobody took (they are -1 then). */
void packet_clear(Packet *packet);
