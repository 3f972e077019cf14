#include "policy/packet-list.h"

#include <criterion/criterion.h>
#include <errno.h>

Test(packet_list, a_socket) {
        PacketLine line;

        cr_assert_eq(packet_line_parse("ffff8880035aa000 3      3    0003   2     1 0      1000   "
                                       "9223372036854775807\n",
                                       &line),
                     0);
        cr_expect_eq(line.interface, 2);
        cr_expect_eq(line.uid, 1000);
        cr_expect_eq(line.inode, INT64_MAX);
}

Test(packet_list, what_is_none) {
        static const char *const lines[] = {
                "sk               RefCnt Type Proto  Iface R Rmem   User   Inode\n",
                "",
                "\n",
                "ffff8880035aa000 3      3    0003   2     1 0      0\n",
                "ffff8880035aa000 3      3    0003   -2     1 0      0     77\n",
                "ffff8880035aa000 3      3    0003   2     1 0      0     77x\n",
        };

        for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
                PacketLine line;

                cr_expect_eq(packet_line_parse(lines[i], &line), -EBADMSG, "%s", lines[i]);
        }
}
