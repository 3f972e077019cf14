/* packet-sockets.h: packet sockets (packet(7)) that are bound to an interface of a function: a DHCP
 * client, a capture, a switch in userspace.
 *
 * Owns what one look has found. Always holds: such a socket is in the network namespace of its
 * interface (packet_do_bind() in net/packet/af_packet.c), so those of the host's namespace are all
 * that matter. An interface that is elsewhere is in use anyway. */
#pragma once

#include "daemon/uses/network-links.h"

typedef struct PacketSocket {
        PciKey key;
        char interface[NETWORK_NAME_MAX];
        uint64_t inode;
        uint32_t uid;     /* of who made it */
        uint32_t pid;     /* of a process that has it open, 0: none is found */
        char program[64]; /* that process's name */
} PacketSocket;

/* Adds all of them (of PacketSocket) to `sockets`. `proc` is where procfs is; the process is in the
 * host's network namespace. Waits for nobody. Returns 0 or a negative errno. */
int packet_sockets_read(const char *proc, GArray *sockets);

/* The process has a descriptor whose link is `link`, such as "socket:[4711]". */
void packet_sockets_note(GArray *sockets, const char *link, uint32_t pid, const char *program);
