#include "policy/device-file.h"
#include "policy/proc-text.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <glib.h>

#define FUNCTION "/sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0"

Test(device_file, links) {
        static const struct {
                const char *link;
                DeviceFile expected;
        } cases[] = {
                { "/dev/uio0", DEVICE_FILE_UIO },
                { "/srv/box/dev/uio12", DEVICE_FILE_UIO },
                { "/dev/uio", DEVICE_FILE_OTHER },
                { "/dev/uio0p1", DEVICE_FILE_OTHER },
                { "/dev/uio0 (deleted)", DEVICE_FILE_OTHER },
                { FUNCTION "/resource0", DEVICE_FILE_RESOURCE },
                { FUNCTION "/resource5_wc", DEVICE_FILE_RESOURCE },
                { FUNCTION "/resource", DEVICE_FILE_OTHER },
                { FUNCTION "/resource6", DEVICE_FILE_OTHER },
                { FUNCTION "/resource0_uc", DEVICE_FILE_OTHER },
                { FUNCTION "/resource0_resize", DEVICE_FILE_OTHER },
                { FUNCTION "/config", DEVICE_FILE_CONFIG },
                { "/sys/devices/pci10000:00/10000:00:02.0/config", DEVICE_FILE_CONFIG },
                { "/etc/app/config", DEVICE_FILE_OTHER },
                { "/srv/resource0", DEVICE_FILE_OTHER },
                { "/config", DEVICE_FILE_OTHER },
                { "config", DEVICE_FILE_OTHER },
                { "socket:[0000:01:00.0/config", DEVICE_FILE_OTHER },
                { "/", DEVICE_FILE_OTHER },
                { "", DEVICE_FILE_OTHER },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++)
                cr_expect_eq(device_file_parse(cases[i].link), cases[i].expected, "%s",
                             cases[i].link);
}

Test(device_file, in_proc) {
        static const struct {
                const char *link, *expected; /* NULL: no such file */
        } cases[] = {
                { "/proc/bus/pci/00/03.0", "0000:00:03.0" },
                { "/srv/box/proc/bus/pci/0a/1f.7", "0000:0a:1f.7" },
                { "/proc/bus/pci/0001:00/03.0", "0001:00:03.0" },
                { "/proc/bus/pci/10000:e1/00.0", "10000:e1:00.0" },
                { "/proc/bus/pci/devices", NULL },
                { "/proc/bus/pci/00", NULL },
                { "/proc/bus/pci/00/03.0/x", NULL },
                { "/proc/bus/pci/0000:00/00:03.0", NULL },
                { "proc/bus/pci/00/03.0", NULL },
                { "", NULL },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                char text[PCI_ADDRESS_STRING_MAX];
                PciAddress address;
                bool found = device_file_parse_proc(cases[i].link, &address);

                cr_expect_eq(found, cases[i].expected != NULL, "%s", cases[i].link);
                if (found)
                        cr_expect_str_eq(pci_address_format(address, text), cases[i].expected);
        }
}

Test(device_file, flags) {
        static const struct {
                const char *text;
                bool path_only, writes;
        } cases[] = {
                { "pos:\t0\nflags:\t0100000\nmnt_id:\t9\n", false, false },
                { "pos:\t0\nflags:\t0100001\nmnt_id:\t9\n", false, true },
                { "pos:\t0\nflags:\t02100002\nmnt_id:\t9\n", false, true },
                { "pos:\t0\nflags:\t012000000\n", true, false },
                { "pos:\t0\nflags:\t010000002\n", true, false },
                { "pos:\t0\n", true, false },
                { "", true, false },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                OpenFlags flags = { .path_only = true };

                (void) open_flags_parse(cases[i].text, &flags);

                cr_expect_eq(flags.path_only, cases[i].path_only, "%s", cases[i].text);
                cr_expect_eq(flags.writes, cases[i].writes, "%s", cases[i].text);
        }
}

Test(device_file, status) {
        static const struct {
                const char *text;
                int result;
                uint32_t uid;
                const char *name;
        } cases[] = {
                { "Name:\tdpdk-testpmd\nUmask:\t0022\nUid:\t0\t0\t0\t0\n", 0, 0, "dpdk-testpmd" },
                /* A tenant's "su" that waits for a password is the tenant's. */
                { "Name:\tsu\nUid:\t1000\t0\t0\t0\n", 0, 1000, "su" },
                { "Name:\td\nUid:\t0\t1000\t0\t1000\n", 0, 1000, "d" },
                { "Name:\ta b\nUid:\t4294967295\t5\t5\t5\nGid:\t1\n", 0, UINT32_MAX, "a b" },
                /* The kernel escapes a newline in a name: it cannot begin a line. */
                { "Name:\tx\\nUid:\t0\nUid:\t7\t7\t7\t7\n", 0, 7, "x\\nUid:\t0" },
                { "Name:\tx\nUid:\t\n", -EBADMSG, 0, NULL },
                { "Name:\tx\nUid:\t0\n", -EBADMSG, 0, NULL },
                { "Name:\tx\nUid:\t0\t4294967296\t0\t0\n", -EBADMSG, 0, NULL },
                { "Uid:\t0\t0\t0\t0\n", -EBADMSG, 0, NULL },
                { "", -EBADMSG, 0, NULL },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                ProcessStatus status = { .uid = 3 };

                cr_assert_eq(process_status_parse(cases[i].text, &status), cases[i].result, "%s",
                             cases[i].text);
                cr_expect_eq(status.uid, cases[i].result == 0 ? cases[i].uid : 3, "%s",
                             cases[i].text);
                if (cases[i].name)
                        cr_expect_str_eq(status.name, cases[i].name);
        }
}

/* Of a process whose first thread has ended, procfs shows no descriptors and no memory. */
Test(device_file, first_thread_has_ended) {
        static const struct {
                const char *state;
                bool ended;
        } cases[] = {
                { "State:\tR (running)\n", false },
                { "State:\tS (sleeping)\n", false },
                { "State:\tD (disk sleep)\n", false },
                { "State:\tt (tracing stop)\n", false },
                { "State:\tZ (zombie)\n", true },
                { "State:\tX (dead)\n", true },
                { "State:\tR (running)\nFDSize:\t64\n", false },
                { "State:\tR (running)\nFDSize:\t0\n", true },
                { "State:\n", false },
                { "", false },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autofree char *text =
                        g_strconcat("Name:\tx\n", cases[i].state, "Uid:\t0\t0\t0\t0\n", NULL);
                ProcessStatus status;

                cr_assert_eq(process_status_parse(text, &status), 0);
                cr_expect_eq(status.ended, cases[i].ended, "%s", text);
        }
}

/* Groups ascend, so a list whose end is missing still answers for those before it. */
Test(device_file, groups) {
        static const struct {
                const char *text;
                uint32_t gid;
                bool may_contain;
        } cases[] = {
                { "Gid:\t1000\t1001\t1002\t1003\nGroups:\t \n", 1001, true },
                { "Gid:\t1000\t1001\t1002\t1003\nGroups:\t \n", 1003, true },
                { "Gid:\t1000\t1001\t1002\t1003\nGroups:\t \n", 103, false },
                { "Gid:\t1000\t1000\t1000\t1000\nGroups:\t27 103 1000 \nNgid:\t5\n", 103, true },
                { "Gid:\t1000\t1000\t1000\t1000\nGroups:\t27 103 1000 \nNgid:\t5\n", 10, false },
                { "Gid:\t1000\t1000\t1000\t1000\nGroups:\t27 103 1000 \nNgid:\t5\n", 2000, false },
                { "Gid:\t1000\t1000\t1000\t1000\nGroups:\t27 10", 26, false },
                { "Gid:\t1000\t1000\t1000\t1000\nGroups:\t27 10", 27, true },
                { "Gid:\t1000\t1000\t1000\t1000\nGroups:\t27 10", 103, true },
                { "Gid:\t1000\t1000\t1000\t1000\nGroups:\t2", 1, true },
                { "Gid:\t1000\t1000\t1000\t1000\n", 103, true },
                { "", 0, true },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                ProcessGroups groups;

                process_groups_parse(cases[i].text, &groups);
                cr_expect_eq(process_groups_may_contain(&groups, cases[i].gid),
                             cases[i].may_contain, "%u in %s", cases[i].gid, cases[i].text);
        }
}

/* No more than PROCESS_GROUPS_MAX are kept: in those from the last one on it may be. */
Test(device_file, many_groups) {
        g_autoptr(GString) text = g_string_new("Gid:\t5\t5\t5\t5\nGroups:\t");
        ProcessGroups groups;

        for (unsigned i = 1; i <= 2 * PROCESS_GROUPS_MAX; i++)
                g_string_append_printf(text, "%u ", 10 * i);
        g_string_append(text, "\n");
        process_groups_parse(text->str, &groups);
        cr_expect_eq(groups.n, PROCESS_GROUPS_MAX);
        cr_expect(process_groups_may_contain(&groups, 5));
        cr_expect(process_groups_may_contain(&groups, 20));
        cr_expect_not(process_groups_may_contain(&groups, 21));
        cr_expect(process_groups_may_contain(&groups, 10 * PROCESS_GROUPS_MAX + 1));
}

Test(proc_text, links_to_what_has_no_name) {
        static const struct {
                const char *link, *kind;
                bool parsed;
                uint64_t inode;
        } cases[] = {
                { "socket:[4711]", "socket", true, 4711 },
                { "net:[4026531840]", "net", true, 4026531840 },
                { "socket:[18446744073709551614]", "socket", true, UINT64_MAX - 1 },
                { "socket:[18446744073709551616]", "socket", false, 0 },
                { "socket:[4711]", "net", false, 0 },
                { "socket:[]", "socket", false, 0 },
                { "socket:[", "socket", false, 0 },
                { "socket:4711]", "socket", false, 0 },
                { "socket:[4711", "socket", false, 0 },
                { "socket:[4711] (deleted)", "socket", false, 0 },
                { "socket:[-1]", "socket", false, 0 },
                { "/tmp/socket:[4711]", "socket", false, 0 },
                { "", "socket", false, 0 },
        };

        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                uint64_t inode = 0;

                cr_expect_eq(proc_link_parse(cases[i].link, cases[i].kind, &inode), cases[i].parsed,
                             "%s", cases[i].link);
                cr_expect_eq(inode, cases[i].inode, "%s", cases[i].link);
        }
}
