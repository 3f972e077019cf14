/* packet-list.h: the kernel's list of packet sockets, /proc/net/packet.
 *
 * Pure. */
#pragma once

#include <stdint.h>

typedef struct PacketLine {
        uint32_t interface; /* the number of the one that the socket is bound to; 0: of all */
        uint32_t uid;
        uint64_t inode;
} PacketLine;

/* One line of the list. Returns 0, or -EBADMSG for what is none, such as the first line. */
int packet_line_parse(const char *line, PacketLine *ret);
