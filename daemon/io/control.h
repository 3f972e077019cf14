/* control.h: what the daemon and vfwarden-io say to each other.
 *
 * A socket of type SOCK_SEQPACKET, one structure a packet. The daemon sends orders; each is
 * answered with one report of the same kind (policy/io-report.h). Besides, IO_READY or IO_FAILED is
 * the first packet from vfwarden-io, and IO_CLOSED the last one when it ends because its client
 * did. No second order of a kind is sent before the first is answered, so the socket never fills;
 * vfwarden-io never waits for room, so a stopped daemon stops no session.
 *
 * The daemon may end and leave its end of the socket to its successor (systemd's fd store):
 * vfwarden-io notices nothing. Where nobody keeps it, the session goes on until its client ends; it
 * is then a process that uses the function as any other. A vfwarden-io without a client, which
 * serves single requests, ends with its daemon.
 *
 * IO_STATUS and IO_DRAIN are answered at once, whatever the client or the device do. IO_END and
 * IO_GONE wait for the one access that the device may be busy with, and for nothing of the
 * client's. An order has a deadline; the daemon kills a process that misses it
 * (daemon/broker/io-process.h).
 *
 * Owns nothing. Included by the daemon. */
#pragma once

#include "policy/io-report.h"

#include <stdint.h>

#define IO_DATA_MAX 4096

typedef struct IoOrder {
        uint32_t kind;
        uint32_t pcias;
        uint64_t offset;
        uint32_t length;
        uint8_t data[IO_DATA_MAX]; /* left out of the packet as far as it is not used */
} IoOrder;

#define IO_ORDER_MIN (sizeof(uint32_t))
