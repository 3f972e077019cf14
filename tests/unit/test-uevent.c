#include "policy/uevent.h"

#include <criterion/criterion.h>
#include <glib.h>

#define PCI_PATH "/devices/pci0000:00/0000:00:01.0"

Test(uevent, texts) {
        static const struct {
                const char *text;
                size_t size;
                bool whole;
                Uevent expected;
        } cases[] = {
#define TEXT(text) text, sizeof(text) - 1
                { TEXT("bind@" PCI_PATH "\0ACTION=bind\0DEVPATH=" PCI_PATH
                       "\0SUBSYSTEM=pci\0DRIVER=igb\0SEQNUM=7\0"),
                  true,
                  { "bind", "pci", PCI_PATH, NULL, NULL } },
                { TEXT("move@/devices/b\0ACTION=move\0DEVPATH=/devices/b\0SUBSYSTEM=pci"
                       "\0DEVPATH_OLD=/devices/a\0"),
                  true,
                  { "move", "pci", "/devices/b", "/devices/a", NULL } },
                { TEXT("change@/a\0ACTION=change\0DEVPATH=/a\0SUBSYSTEM=pci\0ERROR_EVENT=BEGIN_RECOVERY\0"
                       "DEVICE_ONLINE=0\0"),
                  true,
                  { "change", "pci", "/a", NULL, "BEGIN_RECOVERY" } },
                /* The first counts: what follows may come from a driver, or from root. */
                { TEXT("add@/a\0ACTION=add\0DEVPATH=/a\0SUBSYSTEM=pci\0SUBSYSTEM=block\0"),
                  true,
                  { "add", "pci", "/a", NULL, NULL } },
                { TEXT("add@/a\0ACTION=\0DEVPATH=/a\0SUBSYSTEM=pci\0"),
                  true,
                  { "", "pci", "/a", NULL, NULL } },
                /* The end is missing: there is a 0 beyond `size` all the same. */
                { TEXT("add@/a\0ACTION=add\0DEVPATH=/a\0SUBSYSTEM=pc"),
                  true,
                  { "add", "pc", "/a", NULL, NULL } },
                { TEXT("add@/a\0DEVPATH=/a\0SUBSYSTEM=pci\0"), false, { 0 } },
                { TEXT("add@/a\0ACTION=add\0SUBSYSTEM=pci\0"), false, { 0 } },
                { TEXT("add@/a\0ACTION=add\0DEVPATH=/a\0"), false, { 0 } },
                { TEXT("add@/a\0XACTION=add\0DEVPATH=/a\0SUBSYSTEM=pci\0"), false, { 0 } },
                { TEXT("\0\0\0"), false, { 0 } },
                { TEXT(""), false, { 0 } },
#undef TEXT
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                Uevent event = { .action = "as before" };
                const Uevent *expected = &cases[i].expected;

                cr_assert_eq(uevent_parse(cases[i].text, cases[i].size, &event), cases[i].whole,
                             "%zu", i);
                if (!cases[i].whole) {
                        cr_expect_str_eq(event.action, "as before", "%zu", i);
                        continue;
                }
                cr_expect_str_eq(event.action, expected->action, "%zu", i);
                cr_expect_str_eq(event.subsystem, expected->subsystem, "%zu", i);
                cr_expect_str_eq(event.devpath, expected->devpath, "%zu", i);
                cr_expect_eq(g_strcmp0(event.devpath_old, expected->devpath_old), 0, "%zu", i);
                cr_expect_eq(g_strcmp0(event.error, expected->error), 0, "%zu", i);
        }
}

Test(uevent, names) {
        cr_expect_str_eq(uevent_name(PCI_PATH), "0000:00:01.0");
        cr_expect_str_eq(uevent_name("0000:00:01.0"), "0000:00:01.0");
        cr_expect_str_eq(uevent_name("/"), "");
}
