#include "daemon/config.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>

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
