#include "daemon/base/config.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static char *directory;

static void set_up(void) {
        directory = g_dir_make_tmp("vfwarden-config-XXXXXX", NULL);
        g_autofree char *drop_ins = g_build_filename(directory, "vfwarden.conf.d", NULL);
        cr_assert_eq(g_mkdir_with_parents(drop_ins, 0700), 0);
}

static void tear_down(void) {
        g_autofree char *command = g_strdup_printf("rm -r '%s'", directory);

        cr_assert(g_spawn_command_line_sync(command, NULL, NULL, NULL, NULL));
        g_free(directory);
}

TestSuite(config, .init = set_up, .fini = tear_down);

static void write_file(const char *name, const char *text) {
        g_autofree char *path = g_build_filename(directory, name, NULL);

        cr_assert(g_file_set_contents(path, text, -1, NULL));
}

static Config *load(void) {
        g_autofree char *error = NULL;
        Config *config = NULL;

        cr_assert_eq(config_load(directory, &config, &error), 0, "%s", error);
        return config;
}

Test(config, defaults) {
        g_autoptr(Config) config = load();
        static const char *const userspace[] = { "vfio-pci",        "mlx5_vfio_pci", "ism-vfio-pci",
                                                 "uio_pci_generic", "igb_uio",       "pci-stub" };

        cr_assert(config->enforce);
        for (size_t i = 0; i < sizeof(userspace) / sizeof(*userspace); i++)
                cr_assert(pattern_list_matches(config->userspace_drivers, userspace[i]), "%s",
                          userspace[i]);
        cr_assert_not(pattern_list_matches(config->userspace_drivers, "igb"));
        cr_assert_not(config_emulates(config, 0));
        cr_assert_not(config->allow_msix);
        cr_assert_eq(config->max_sessions, 16);
        cr_assert_eq(config->max_mapped, 16ULL << 30);
        cr_assert_eq(config->drain_usec, 10000000);
        cr_assert_eq(config->max_leases, 64);
}

Test(config, sessions) {
        g_autoptr(Config) config = NULL;

        write_file("vfwarden.conf",
                   "[Io]\nEmulatedFunctions=0000:00:00.1\t0001:02:03.4 \nAllowMsix=yes\n"
                   "MaxSessionsPerUser=0\nMaxMappedMemoryPerUser=1073741824\nDrainSeconds=86400\n");
        config = load();
        cr_assert(config_emulates(config, 1));
        cr_assert_not(config_emulates(config, 0));
        cr_assert(config->allow_msix);
        cr_assert_eq(config->max_sessions, 0);
        cr_assert_eq(config->max_mapped, 1ULL << 50);
        cr_assert_eq(config->drain_usec, 86400000000);
}

Test(config, leases) {
        g_autoptr(Config) config = NULL;
        g_autofree char *error = NULL;
        Config *wrong = NULL;

        write_file("vfwarden.conf", "[Open]\nMaxLeasesPerUser=0\n");
        config = load();
        cr_assert_eq(config->max_leases, 0);
        write_file("vfwarden.conf", "[Open]\nMaxLeasesPerUser=1025\n");
        cr_assert_eq(config_load(directory, &wrong, &error), -EINVAL);
}

Test(config, sessions_refused) {
        static const char *const lines[] = {
                "EmulatedFunctions=00:00.1", "AllowMsix=true",
                "MaxSessionsPerUser=1025",   "MaxSessionsPerUser=",
                "MaxMappedMemoryPerUser=0",  "MaxMappedMemoryPerUser=1073741825",
                "DrainSeconds=86401",        "DrainSeconds=-1",
        };

        for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++) {
                g_autofree char *text = g_strconcat("[Io]\n", lines[i], "\n", NULL);
                g_autofree char *error = NULL;
                Config *config = NULL;

                write_file("vfwarden.conf", text);
                cr_assert_eq(config_load(directory, &config, &error), -EINVAL, "%s", lines[i]);
                cr_assert(strstr(error, ":2:"), "%s", error);
        }
}

Test(config, later_files_replace) {
        g_autoptr(Config) config = NULL;

        write_file("vfwarden.conf", "# a comment\n; another\n\n [Lock] \n"
                                    "  UserspaceDrivers = one two \nEnforcement=advise\n");
        write_file("vfwarden.conf.d/20-b.conf", "[Lock]\nUserspaceDrivers=three");
        write_file("vfwarden.conf.d/10-a.conf", "[Lock]\nUserspaceDrivers=two\n");
        write_file("vfwarden.conf.d/30-c.conf.bak", "nonsense");
        config = load();
        cr_assert_not(config->enforce);
        cr_assert(pattern_list_matches(config->userspace_drivers, "three"));
        cr_assert_not(pattern_list_matches(config->userspace_drivers, "one"));
        cr_assert_not(pattern_list_matches(config->userspace_drivers, "two"));
}

Test(config, an_empty_list) {
        g_autoptr(Config) config = NULL;

        write_file("vfwarden.conf", "[Lock]\nUserspaceDrivers=\n");
        config = load();
        cr_assert_not(pattern_list_matches(config->userspace_drivers, "vfio-pci"));
}

Test(config, a_wrong_line_is_named) {
        static const struct {
                const char *text, *line, *reason;
        } cases[] = {
                { "[Lock]\nEnforcement=maybe\n", ":2: ", "neither 'enforce' nor 'advise'" },
                { "[Lock]\n\nEnforcment=enforce\n", ":3: ", "unknown key 'Enforcment'" },
                { "[Look]\nEnforcement=enforce\n", ":1: ", "unknown section [Look]" },
                { "Enforcement=enforce\n", ":1: ", "before the first section" },
                { "[Lock\n", ":1: ", "closing ']'" },
                { "[Lock]\nEnforcement\n", ":2: ", "neither '[Section]' nor" },
                { "[Lock]\nUserspaceDrivers=vfio,pci\n", ":2: ", "'vfio,pci' is no pattern" },
                { "[Lock]\n\xff=1\n", ":2: ", "UTF-8" },
                { "[Lock]\nEnforcement=\n", ":2: ", "'' is neither" },
        };

        for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                g_autofree char *error = NULL, *path = NULL;
                Config *config = NULL;

                write_file("vfwarden.conf.d/x.conf", cases[i].text);
                cr_assert_eq(config_load(directory, &config, &error), -EINVAL, "%s", cases[i].text);
                path = g_strdup_printf("%s/vfwarden.conf.d/x.conf%s", directory, cases[i].line);
                cr_assert(g_str_has_prefix(error, path), "%s", error);
                cr_assert(strstr(error, cases[i].reason), "%s", error);
                cr_assert_null(config);
        }
}

Test(config, a_file_that_cannot_be_read) {
        g_autofree char *error = NULL, *path = g_build_filename(directory, "vfwarden.conf", NULL);
        Config *config = NULL;

        cr_assert_eq(g_mkdir_with_parents(path, 0700), 0);
        cr_assert_eq(config_load(directory, &config, &error), -EIO);
        cr_assert(strstr(error, "vfwarden.conf"), "%s", error);
}
