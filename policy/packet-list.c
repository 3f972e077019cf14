#include "policy/packet-list.h"

#include "policy/number.h"

#include <errno.h>
#include <glib.h>

/* "sk RefCnt Type Proto Iface R Rmem User Inode" (packet_seq_show() in net/packet/af_packet.c) */
enum {
        COLUMN_INTERFACE = 4,
        COLUMN_USER = 7,
        COLUMN_INODE = 8,
        N_COLUMNS = 9
};

int packet_line_parse(const char *line, PacketLine *ret) {
        g_auto(GStrv) words = g_strsplit_set(line, " \n", -1);
        const char *columns[N_COLUMNS];
        uint64_t interface, uid, inode;
        unsigned n = 0;

        for (char **word = words; *word && n < N_COLUMNS; word++)
                if (**word != '\0')
                        columns[n++] = *word;
        if (n < N_COLUMNS ||
            number_parse(columns[COLUMN_INTERFACE], 10, INT32_MAX, &interface) < 0 ||
            number_parse(columns[COLUMN_USER], 10, UINT32_MAX, &uid) < 0 ||
            number_parse(columns[COLUMN_INODE], 10, INT64_MAX, &inode) < 0)
                return -EBADMSG;
        *ret = (PacketLine){ (uint32_t) interface, (uint32_t) uid, inode };
        return 0;
}
