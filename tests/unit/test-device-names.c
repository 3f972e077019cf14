#include "policy/device-names.h"

#include <criterion/criterion.h>

static void expect(const DeviceNames *names, DeviceNameKind kind, const char *wanted) {
        const GPtrArray *list = device_names_list(names, kind);
        g_autoptr(GString) text = g_string_new(NULL);

        for (guint i = 0; list && i < list->len; i++)
                g_string_append_printf(text, "%s%s", i > 0 ? " " : "", (char *) list->pdata[i]);
        cr_assert_str_eq(text->str, wanted);
}

Test(device_names, are_sorted_and_there_once) {
        g_autoptr(DeviceNames) names = device_names_new(), other = device_names_new();

        expect(NULL, DEVICE_NAME_BLOCK, "");
        expect(names, DEVICE_NAME_BLOCK, "");
        device_names_add(names, DEVICE_NAME_BLOCK, "sdb");
        device_names_add(names, DEVICE_NAME_BLOCK, "sda");
        device_names_add(names, DEVICE_NAME_BLOCK, "sdb");
        device_names_add(names, DEVICE_NAME_INTERFACE, "eth0");
        expect(names, DEVICE_NAME_BLOCK, "sda sdb");
        expect(names, DEVICE_NAME_INTERFACE, "eth0");

        device_names_add(other, DEVICE_NAME_BLOCK, "sdc");
        device_names_add(other, DEVICE_NAME_BLOCK, "sda");
        device_names_add_all(names, other);
        device_names_add_all(names, NULL);
        expect(names, DEVICE_NAME_BLOCK, "sda sdb sdc");
        expect(names, DEVICE_NAME_INTERFACE, "eth0");
}

Test(device_names, are_bounded) {
        g_autoptr(DeviceNames) names = device_names_new();

        for (unsigned i = 0; i < 2 * DEVICE_NAMES_MAX; i++) {
                g_autofree char *name = g_strdup_printf("eth%u", i);

                device_names_add(names, DEVICE_NAME_INTERFACE, name);
        }
        cr_assert_eq(device_names_list(names, DEVICE_NAME_INTERFACE)->len, DEVICE_NAMES_MAX);
}

Test(device_names, are_compared_by_kind) {
        g_autoptr(DeviceNames) a = device_names_new(), b = device_names_new();

        cr_assert(device_names_equal(NULL, NULL));
        cr_assert(device_names_equal(a, NULL));
        device_names_add(a, DEVICE_NAME_INTERFACE, "eth0");
        cr_assert_not(device_names_equal(a, NULL));
        cr_assert_not(device_names_equal(b, a));
        cr_assert(device_names_equal_kind(a, b, DEVICE_NAME_BLOCK));
        cr_assert_not(device_names_equal_kind(a, b, DEVICE_NAME_INTERFACE));
        device_names_add(b, DEVICE_NAME_INTERFACE, "eth1");
        cr_assert_not(device_names_equal(a, b));
        device_names_add(a, DEVICE_NAME_INTERFACE, "eth1");
        device_names_add(b, DEVICE_NAME_INTERFACE, "eth0");
        cr_assert(device_names_equal(a, b));
}
