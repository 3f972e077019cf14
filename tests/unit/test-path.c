#include "dbus/path.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <systemd/sd-bus.h>

/* Ours is sd_bus_path_encode()'s, without the allocation. */
Test(path, is_what_sd_bus_makes) {
        static const char *const addresses[] = { "0000:01:10.2", "ffffffff:ff:1f.7", "a000:0b:00.0",
                                                 "10000:e0:06.0" };

        for (size_t i = 0; i < sizeof(addresses) / sizeof(*addresses); i++) {
                char path[FUNCTION_PATH_MAX], *theirs = NULL;
                PciAddress address;
                PciKey key;

                cr_assert_eq(pci_address_parse(addresses[i], &address), 0);
                cr_assert_geq(sd_bus_path_encode(BUS_FUNCTION_PREFIX, addresses[i], &theirs), 0);
                cr_assert_str_eq(function_path_format(pci_address_key(address), path), theirs);
                cr_assert_eq(function_path_parse(path, &key), 0);
                cr_assert_eq(key, pci_address_key(address));
                free(theirs);
        }
}

Test(path, one_object_has_one_path) {
        static const char *const bad[] = {
                "/",
                "/org/vfwarden1",
                "/org/vfwarden1/function",
                "/org/vfwarden1/function/",
                "/org/vfwarden1/function/_30000_3a01_3a10_2e",
                "/org/vfwarden1/function/_30000_3a01_3a10_2e2/x",
                "/org/vfwarden1/function/_30000_3A01_3a10_2e2",
                "/org/vfwarden1/function/_30_3000_3a01_3a10_2e2",
                "/org/vfwarden1/functionx/_30000_3a01_3a10_2e2",
        };

        for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
                PciKey key = 1;

                cr_assert_lt(function_path_parse(bad[i], &key), 0, "%s", bad[i]);
                cr_assert_eq(key, 1);
        }
}
