#include "cli/function/names.h"

#include <criterion/criterion.h>

/* Two disks with two paths each, a card with two ports in a slot, and functions of s390. */
static const char document[] =
        "{\"Functions\": ["
        "{\"Address\": \"0000:01:00.0\", \"VendorId\": 32902, \"DeviceId\": 4297, \"IommuGroup\": 11,"
        " \"Slot\": \"4\", \"Interfaces\": [\"ens4f0\", \"ens4f0d1\"], \"BlockDevices\": []},"
        "{\"Address\": \"0000:01:00.1\", \"VendorId\": 32902, \"DeviceId\": 4297, \"IommuGroup\": 11,"
        " \"Slot\": \"4\", \"Interfaces\": [\"ens4f1\"], \"BlockDevices\": []},"
        "{\"Address\": \"0000:02:00.0\", \"VendorId\": 6966, \"DeviceId\": 16, \"IommuGroup\": 1,"
        " \"Slot\": \"4-1\", \"Interfaces\": [], \"BlockDevices\": [\"nvme0\", \"nvme0n1\"]},"
        "{\"Address\": \"0000:03:00.0\", \"VendorId\": 6966, \"DeviceId\": 17, \"IommuGroup\": -1,"
        " \"Slot\": \"\", \"BlockDevices\": [\"nvme0n1\", \"nvme1\", \"ens4f1\", \"$(reboot)\"]},"
        "{\"Address\": \"0040:00:00.0\", \"VendorId\": 65535, \"DeviceId\": 65535, \"FunctionId\": 255,"
        " \"Uid\": 64, \"Slot\": \"000000ff\"},"
        "{\"Address\": \"10000:e1:00.0\", \"FunctionId\": 256, \"Uid\": 0}"
        "]}";

static Inventory *inventory;

static void set_up(void) {
        g_autoptr(GError) error = NULL;

        cr_assert_eq(inventory_parse(document, &inventory, &error), 0);
}

static void tear_down(void) {
        inventory_free(inventory);
}

TestSuite(names, .init = set_up, .fini = tear_down);

#define PORTS "0000:01:00.0 0000:01:00.1"
#define PATHS "0000:02:00.0 0000:03:00.0"

Test(names, stand_for_functions) {
        static const struct {
                const char *name, *functions;
        } rows[] = {
                { "ens4f0", "0000:01:00.0" },
                { "ens4f0d1", "0000:01:00.0" },
                { "ens4", "" },
                { "ENS4F0", "" },
                { "net:ens4f0", "0000:01:00.0" },
                { "block:ens4f0", "" },
                { "ens4f1", "0000:01:00.1 0000:03:00.0" }, /* it is two things */
                { "net:ens4f1", "0000:01:00.1" },
                { "block:ens4f1", "0000:03:00.0" },
                { "nvme0", "0000:02:00.0" },
                { "nvme1", "0000:03:00.0" },
                { "nvme0n1", PATHS },
                { "nvme0n1p1", "" },
                { "slot:4", PORTS },
                { "slot:4-1", "0000:02:00.0" },
                { "slot:000000ff", "0040:00:00.0" },
                { "slot:", "" },
                { "4", "" },
                { "group:11", PORTS },
                { "group:1", "0000:02:00.0" },
                { "group:-1", "" },
                { "group:011", "" },
                { "group:", "" },
                { "11", "" },
                { "8086:10c9", PORTS },
                { "8086:10C9", PORTS },
                { "id:8086:10c9", PORTS },
                { "1b36:0010", "0000:02:00.0" },
                { "1b36:10", "" },
                { "1b36:00100", "" },
                { "ffff:ffff", "" },
                { "fid:ff", "0040:00:00.0" },
                { "fid:0x000000ff", "0040:00:00.0" },
                { "fid:0x100", "10000:e1:00.0" },
                { "fid:+ff", "" },
                { "fid:", "" },
                { "fid:1000000ff", "" },
                { "uid:40", "0040:00:00.0" },
                { "uid:0", "" },
                { "net:$(reboot)", "" },
                { "block:$(reboot)", "0000:03:00.0" },
                { "", "" },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
                g_autoptr(GPtrArray) found = names_find(inventory, rows[i].name);
                g_autoptr(GString) text = g_string_new(NULL);

                for (guint j = 0; j < found->len; j++)
                        g_string_append_printf(text, "%s%s", j > 0 ? " " : "",
                                               function_string(found->pdata[j], "Address"));
                cr_expect_str_eq(text->str, rows[i].functions, "%s: %s", rows[i].name, text->str);
        }
}

Test(names, that_are_addresses) {
        static const struct {
                const char *text, *address; /* NULL: none */
        } rows[] = {
                { "01:00.0", "0000:01:00.0" },
                { "1:0.0", "0000:01:00.0" },
                { "0000:01:00.0", "0000:01:00.0" },
                { "10000:E1:00.0", "10000:e1:00.0" },
                { "pci_0000_01_00_0", "0000:01:00.0" },
                { "pci_10000_e1_00_0", "10000:e1:00.0" },
                { "pci_0000_01_00", NULL },
                { "pci_0000_01_00_8", NULL },
                { "pci_0000_01_00_0_1", NULL },
                { "pci-0000:01:00.0", "0000:01:00.0" },
                { "pci-0000:02:00.0-nvme-1", "0000:02:00.0" },
                { "pci-", NULL },
                { "/sys/bus/pci/devices/0000:01:00.0", "0000:01:00.0" },
                { "/sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0/net/ens4f0", "0000:01:00.0" },
                { "/sys/bus/pci/devices/0000:01:00.0/", "0000:01:00.0" },
                { "/sys/class/net/ens4f0", NULL },
                { "/", NULL },
                { "ens4f0", NULL },
                { "8086:10c9", NULL },
                { "group:11", NULL },
                { "", NULL },
                { "\xff:00.0", NULL },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
                g_autofree char *address = name_to_address(rows[i].text);

                cr_expect_eq(g_strcmp0(address, rows[i].address), 0, "%s: %s", rows[i].text,
                             address);
        }
}

Test(names, of_paths) {
        static const struct {
                const char *path, *name;
        } rows[] = {
                { "/dev/nvme0n1", "nvme0n1" },
                { "/sys/class/net/ens4f0", "ens4f0" },
                { "/dev/vfio/11", "group:11" },
                { "/dev/vfio/devices/vfio0", "vfio0" },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
                g_autofree char *name = name_from_path(rows[i].path);

                cr_expect_str_eq(name, rows[i].name);
        }
}

Test(names, that_can_be_addresses_alone) {
        static const char *const yes[] = { "",           "1",   "0100.0",  "1:0",
                                           "0:0:0:0.0",  "-1",  "+1:00.0", "0000:01:00.0",
                                           "nonsense:4", "\xff" };
        static const char *const no[] = { "ens4f0",  "eth0.5", "8086:10c9", "group:11", "slot:4",
                                          "fid:0x1", "bad",    "a",         "pci_0000" };

        for (size_t i = 0; i < G_N_ELEMENTS(yes); i++)
                cr_expect(name_is_like_address(yes[i]), "%s", yes[i]);
        for (size_t i = 0; i < G_N_ELEMENTS(no); i++)
                cr_expect_not(name_is_like_address(no[i]), "%s", no[i]);
}

Test(names, nearest_to_a_mistake) {
        static const struct {
                const char *text, *name;
        } rows[] = {
                { "esn4f0", "ens4f0" }, { "nvme9", "nvme0" },      { "group:12", "group:11" },
                { "slot:5", "slot:4" }, { "entirely-else", NULL },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
                g_autofree char *name = names_nearest(inventory, rows[i].text);

                cr_expect_eq(g_strcmp0(name, rows[i].name), 0, "%s: %s", rows[i].text, name);
        }
}

/* A shell may run what it is offered. */
Test(names, that_are_offered) {
        g_autoptr(GPtrArray) all = names_offer(inventory, ""),
                             groups = names_offer(inventory, "group:1");
        g_autofree char *text = NULL, *group_text = NULL;

        g_ptr_array_add(all, NULL);
        g_ptr_array_add(groups, NULL);
        text = g_strjoinv(" ", (char **) all->pdata);
        group_text = g_strjoinv(" ", (char **) groups->pdata);
        cr_expect_str_eq(text, PORTS " " PATHS " 0040:00:00.0 10000:e1:00.0 "
                                     "ens4f0 ens4f0d1 ens4f1 nvme0 nvme0n1 nvme1");
        cr_expect_str_eq(group_text, "group:11 group:1");
}
