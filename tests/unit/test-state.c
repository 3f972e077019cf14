#include "daemon/base/files/state.h"

#include "daemon/broker/records.h"
#include "daemon/guard/function-marks.h"
#include "daemon/guard/records.h"
#include "daemon/manager/parts/parts.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <sys/resource.h>

/* Their lists are all that the daemon writes. */
static Parts *all_parts;
#define sections          parts_sections(all_parts)

#define LIST(state, part) state_records((state), &part##_section)

static char *directory;

static void set_up(void) {
        all_parts = parts_new(parts_table);
        directory = g_dir_make_tmp("vfwarden-state-XXXXXX", NULL);
}

static void tear_down(void) {
        g_autofree char *command = g_strdup_printf("rm -r '%s'", directory);

        cr_assert(g_spawn_command_line_sync(command, NULL, NULL, NULL, NULL));
        g_free(directory);
        all_parts = parts_free(all_parts);
}

TestSuite(state, .init = set_up, .fini = tear_down);

Test(state, comes_back_as_it_was) {
        g_autoptr(State) saved = state_new(sections), loaded = NULL;
        g_autofree char *reason = NULL;
        StateFile file = { g_strdup("/sys/bus/pci/devices/0000:01:00.0/remove"), UINT64_MAX - 1,
                           0220 };
        StateFunction locked = { .key = 0x1234567890abULL,
                                 .inode = 1,
                                 .lock_why = g_strdup("a \"why\"\n with é"),
                                 .userspace_driver = true };
        StateFunction tainted = { .key = 0x100, .inode = 0x100000001ULL, .tainted = true };

        StateNode node = { g_strdup("vfio/12"), 0xea01, 0660 };

        g_array_append_val(LIST(saved, device_nodes), node);
        g_array_append_val(LIST(saved, protected_files), file);
        g_array_append_val(LIST(saved, function_marks), locked);
        g_array_append_val(LIST(saved, function_marks), tainted);
        cr_assert_eq(state_save(directory, saved), 0);

        cr_assert_eq(state_load(directory, sections, &loaded, &reason), 0, "%s", reason);
        cr_assert_eq(LIST(loaded, protected_files)->len, 1);
        cr_assert_eq(LIST(loaded, function_marks)->len, 2);
        cr_assert_eq(LIST(loaded, device_nodes)->len, 1);
        StateNode *n = &g_array_index(LIST(loaded, device_nodes), StateNode, 0);
        cr_assert_str_eq(n->name, "vfio/12");
        cr_assert_eq(n->device, 0xea01);
        cr_assert_eq(n->mode, 0660);
        StateFile *f = &g_array_index(LIST(loaded, protected_files), StateFile, 0);
        cr_assert_str_eq(f->path, file.path);
        cr_assert_eq(f->inode, file.inode);
        cr_assert_eq(f->mode, file.mode);
        StateFunction *functions = (StateFunction *) (void *) LIST(loaded, function_marks)->data;
        cr_assert_eq(functions[0].key, locked.key);
        cr_assert_str_eq(functions[0].lock_why, locked.lock_why);
        cr_assert(functions[0].userspace_driver);
        cr_assert_not(functions[0].tainted);
        cr_assert_eq(functions[1].inode, tainted.inode);
        cr_assert_null(functions[1].lock_why);
        cr_assert(functions[1].tainted);
        cr_assert_not(functions[1].userspace_driver);
}

/* RFC 8259, section 7: each character of a text is escaped or stands for itself. */
Test(state, texts_with_all_characters) {
        g_autoptr(State) saved = state_new(sections), loaded = NULL;
        g_autofree char *reason = NULL;
        g_autoptr(GString) text = g_string_new("\"\\/\u2028\u2029\uffff\U0001f600\U0010ffff");
        StateFunction locked = { .key = 0x100, .inode = 1 };

        for (int c = 1; c <= 0x7f; c++)
                g_string_append_c(text, (char) c);
        g_string_append(text, "\xc2\x80\xc2\x9b\\"); /* U+0080, U+009B */
        locked.lock_why = g_strdup(text->str);
        g_array_append_val(LIST(saved, function_marks), locked);
        cr_assert_eq(state_save(directory, saved), 0);
        cr_assert_eq(state_load(directory, sections, &loaded, &reason), 0, "%s", reason);
        cr_assert_str_eq(g_array_index(LIST(loaded, function_marks), StateFunction, 0).lock_why,
                         text->str);
}

Test(state, leases_and_tokens) {
        g_autoptr(State) saved = state_new(sections), loaded = NULL;
        g_autofree char *reason = NULL;
        StateLease lease = { .key = 0x100,
                             .inode = 5,
                             .binding = UINT64_MAX - 1,
                             .group = 12,
                             .node = g_strdup("devices/vfio3"),
                             .lease = { .generation = 1ULL << 40,
                                        .kind = LEASE_KIND_DEVICE,
                                        .pid = 4711,
                                        .uid = 1000,
                                        .command = g_strdup("qemu é"),
                                        .unit = g_strdup("a.scope"),
                                        .since_usec = 77 } };
        StateVfToken token = { 3, 0x200, 6, 7, true };

        g_array_append_val(LIST(saved, leases), lease);
        g_array_append_val(LIST(saved, vf_tokens), token);
        cr_assert_eq(state_save(directory, saved), 0);
        cr_assert_eq(state_load(directory, sections, &loaded, &reason), 0, "%s", reason);
        cr_assert_eq(LIST(loaded, leases)->len, 1);
        cr_assert_eq(LIST(loaded, vf_tokens)->len, 1);
        StateLease *l = &g_array_index(LIST(loaded, leases), StateLease, 0);
        cr_assert_eq(l->key, lease.key);
        cr_assert_eq(l->inode, lease.inode);
        cr_assert_eq(l->binding, lease.binding);
        cr_assert_eq(l->group, lease.group);
        cr_assert_str_eq(l->node, lease.node);
        cr_assert_eq(l->lease.generation, lease.lease.generation);
        cr_assert_eq(l->lease.kind, lease.lease.kind);
        cr_assert_eq(l->lease.pid, lease.lease.pid);
        cr_assert_eq(l->lease.uid, lease.lease.uid);
        cr_assert_str_eq(l->lease.command, lease.lease.command);
        cr_assert_str_eq(l->lease.unit, lease.lease.unit);
        cr_assert_eq(l->lease.since_usec, lease.lease.since_usec);
        StateVfToken *t = &g_array_index(LIST(loaded, vf_tokens), StateVfToken, 0);
        cr_assert_eq(t->number, 3);
        cr_assert_eq(t->key, 0x200);
        cr_assert_eq(t->inode, 6);
        cr_assert_eq(t->binding, 7);
        cr_assert(t->imposed);
}

Test(state, modes_of_inhibitors) {
        g_autoptr(State) saved = state_new(sections), loaded = NULL;
        g_autofree char *reason = NULL;

        for (InhibitorMode mode = 0; mode < _INHIBITOR_MODE_MAX; mode++) {
                StateInhibitor inhibitor = { .number = mode + 1U,
                                             .keys = g_new0(PciKey, 1),
                                             .n_keys = 1,
                                             .inhibitor = { .operations = 1,
                                                            .mode = mode,
                                                            .who = g_strdup("guest"),
                                                            .why = g_strdup("") } };

                g_array_append_val(LIST(saved, inhibitors), inhibitor);
        }
        cr_assert_eq(state_save(directory, saved), 0);
        cr_assert_eq(state_load(directory, sections, &loaded, &reason), 0, "%s", reason);
        for (InhibitorMode mode = 0; mode < _INHIBITOR_MODE_MAX; mode++)
                cr_assert_eq(g_array_index(LIST(loaded, inhibitors), StateInhibitor, mode)
                                     .inhibitor.mode,
                             mode);
}

Test(state, none_is_empty) {
        g_autoptr(State) state = NULL;
        g_autofree char *reason = NULL;

        cr_assert_eq(state_load(directory, sections, &state, &reason), -ENOENT);
        cr_assert_eq(LIST(state, protected_files)->len + LIST(state, function_marks)->len, 0);
}

Test(state, damaged_is_set_aside) {
        static const char *const damaged[] = {
                "",
                "{",
                "[]",
                "null",
                "{\"files\":[]}",
                "{\"files\":[],\"functions\":[],\"nodes\":[{\"name\":\"vfio/../sda\",\"device\":\"1\","
                "\"mode\":\"1b6\"}]}",
                "{\"files\":{},\"functions\":[]}",
                "{\"files\":[1],\"functions\":[]}",
                "{\"files\":[{\"path\":\"/etc/shadow\",\"inode\":\"1\",\"mode\":\"1b6\"}],"
                "\"functions\":[]}",
                "{\"files\":[{\"path\":\"/sys/bus/pci/../../../etc/shadow\",\"inode\":\"1\","
                "\"mode\":\"1b6\"}],\"functions\":[]}",
                "{\"files\":[{\"path\":\"/sys/bus/pci/x\",\"inode\":\"1\",\"mode\":\"10000\"}],"
                "\"functions\":[]}",
                "{\"files\":[{\"path\":\"/sys/bus/pci/x\",\"inode\":1,\"mode\":\"1b6\"}],"
                "\"functions\":[]}",
                "{\"files\":[],\"functions\":[{\"address\":\"nonsense\",\"inode\":\"1\"}]}",
        };

        for (size_t i = 0; i < sizeof(damaged) / sizeof(*damaged); i++) {
                g_autofree char *path = g_build_filename(directory, "state.json", NULL);
                g_autofree char *aside = g_strconcat(path, ".damaged", NULL);
                g_autofree char *reason = NULL, *kept = NULL;
                g_autoptr(State) state = NULL;

                cr_assert(g_file_set_contents(path, damaged[i], -1, NULL));
                cr_assert_eq(state_load(directory, sections, &state, &reason), -EBADMSG, "%s",
                             damaged[i]);
                cr_assert_not_null(reason);
                cr_assert_eq(LIST(state, protected_files)->len + LIST(state, function_marks)->len,
                             0, "%s", damaged[i]);
                cr_assert_not(g_file_test(path, G_FILE_TEST_EXISTS));
                cr_assert(g_file_get_contents(aside, &kept, NULL, NULL));
                cr_assert_str_eq(kept, damaged[i]);
        }
}

static const char *entry_of(const char *list, const char *name, const char *entry) {
        return g_str_equal(list, name) ? entry : "";
}

/* What is wrong takes nothing along that is right, and the first of two counts. */
Test(state, wrong_entries_are_left_out) {
        static const struct {
                const char *list, *entry;
                unsigned kept;
        } cases[] = {
                { "files",
                  "{\"path\":\"/sys/bus/pci/devices/0000:01:00.0/reset\",\"inode\":\"2\",\"mode\":\"1b6\"}",
                  1 },
                { "files",
                  "{\"path\":\"/sys/bus/pci/devices/0000:01:00.0/./reset\",\"inode\":\"1\",\"mode\":\"1b6\"}",
                  1 },
                { "files",
                  "{\"path\":\"/sys/bus/pci/devices/0000:01:00.0//reset\",\"inode\":\"1\",\"mode\":\"1b6\"}",
                  1 },
                { "files",
                  "{\"path\":\"/sys/bus/pci/devices//0000:01:00.0/reset\",\"inode\":\"1\",\"mode\":\"1b6\"}",
                  1 },
                { "files",
                  "{\"path\":\"/sys/bus/pci/devices/0000:0A:00.0/reset\",\"inode\":\"1\",\"mode\":\"1b6\"}",
                  1 },
                { "files",
                  "{\"path\":\"/sys/bus/pci/devices/0000:02:00.0/power\",\"inode\":\"1\",\"mode\":\"1b6\"}",
                  1 },
                { "files",
                  "{\"path\":\"/sys/bus/pci/devices/0000:02:00.0/config\",\"inode\":\"1\",\"mode\":\"1b6\"}",
                  1 },
                { "files",
                  "{\"path\":\"/sys/bus/pci/devices/0000:02:00.0/driver/unbind\",\"inode\":\"1\",\"mode\":\"1b6\"}",
                  1 },
                { "files",
                  "{\"path\":\"/sys/bus/pci/slots/../devices/0000:01:00.0/power\",\"inode\":\"1\",\"mode\":\"1b6\"}",
                  1 },
                { "files",
                  "{\"path\":\"/sys/bus/pci/slots/../power\",\"inode\":\"1\",\"mode\":\"1b6\"}",
                  1 },
                { "files",
                  "{\"path\":\"/sys/bus/pci/devices/0000:02:00.0/nvme/nvme0/state\",\"inode\":\"1\",\"mode\":\"80\"}",
                  1 },
                { "files",
                  "{\"path\":\"/sys/bus/pci/devices/0000:02:00.0/nvme/../reset_controller\",\"inode\":\"1\",\"mode\":\"80\"}",
                  1 },
                { "files",
                  "{\"path\":\"/sys/bus/pci/devices/0000:02:00.0/reset_controller\",\"inode\":\"1\",\"mode\":\"80\"}",
                  1 },
                { "files",
                  "{\"path\":\"/sys/bus/pci/devices/0000:02:00.0/eject\",\"inode\":\"1\",\"mode\":\"80\"}",
                  1 },
                { "files",
                  "{\"path\":\"/sys/devices/pci0000:00/../firmware_node/eject\",\"inode\":\"1\",\"mode\":\"80\"}",
                  1 },
                { "files",
                  "{\"path\":\"/sys/devices/pci0000:00/firmware_node/path\",\"inode\":\"1\",\"mode\":\"80\"}",
                  1 },
                { "files",
                  "{\"path\":\"/sys/bus/pci/slots/3/address\",\"inode\":\"1\",\"mode\":\"1b6\"}",
                  1 },
                { "files",
                  "{\"path\":\"/sys/bus/pci/slots/3/power\",\"inode\":\"1\",\"mode\":\"fff\"}", 1 },
                { "files",
                  "{\"path\":\"/sys/bus/pci/slots/3/power\",\"inode\":\"1\",\"mode\":\"124\"}", 1 },
                { "files",
                  "{\"path\":\"/sys/bus/pci/slots/3/power\",\"inode\":\"ffffffffffffffff\",\"mode\":\"1b6\"}",
                  1 },
                { "files",
                  "{\"path\":\"/sys/bus/pci/slots/3/power\",\"inode\":\"1\",\"mode\":\"1a4\"}", 2 },
                { "functions", "{\"address\":\"0000:02:00.0\",\"inode\":\"1\",\"lock-why\":7}", 0 },
                { "functions", "{\"address\":\"0000:02:00.0\",\"inode\":\"1\",\"tainted\":7}", 1 },
                { "inhibitors",
                  "{\"number\":\"ffffffffffffffff\",\"address\":\"0000:02:00.0\",\"what\":\"reset\",\"who\":\"x\",\"why\":\"\",\"uid\":\"0\",\"pid\":\"1\"}",
                  0 },
                { "inhibitors",
                  "{\"number\":\"1\",\"address\":\"0000:02:00.0\",\"what\":\"reset\",\"who\":{},\"why\":\"\",\"uid\":\"0\",\"pid\":\"1\"}",
                  0 },
                { "inhibitors",
                  "{\"number\":\"1\",\"address\":\"0000:02:00.0\",\"what\":\"reset\",\"who\":\"x\",\"why\":\"\",\"uid\":\"0\",\"pid\":\"1\"}",
                  1 },
                { "operations",
                  "{\"address\":\"0000:02:00.0\",\"inode\":\"1\",\"pid\":\"1\",\"start-time\":\"0\",\"since\":\"0\",\"what\":\"reset\"}",
                  0 },
                { "nodes", "{\"name\":\"vfio/../sda\",\"device\":\"1\",\"mode\":\"1b6\"}", 0 },
                { "nodes", "{\"name\":\"vfio/vfio\",\"device\":\"1\",\"mode\":\"1b6\"}", 0 },
                { "nodes", "{\"name\":\"vfio/12\",\"device\":\"1\",\"mode\":\"fff\"}", 0 },
                { "nodes", "{\"name\":\"vfio/devices/vfio3\",\"device\":\"1\",\"mode\":\"180\"}",
                  1 },
                { "nodes", "7", 0 },
                { "nodes", "[[[]]]", 0 },
        };
        g_autofree char *path = g_build_filename(directory, "state.json", NULL);

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                const char *list = cases[i].list, *entry = cases[i].entry;
                g_autofree char *text = g_strdup_printf(
                        "{\"files\":[{\"path\":\"/sys/bus/pci/devices/0000:01:00.0/reset\","
                        "\"inode\":\"1\",\"mode\":\"80\"}%s%s],\"functions\":[%s],"
                        "\"inhibitors\":[%s],\"operations\":[%s],\"nodes\":[%s]}",
                        entry_of(list, "files", ","), entry_of(list, "files", entry),
                        entry_of(list, "functions", entry), entry_of(list, "inhibitors", entry),
                        entry_of(list, "operations", entry), entry_of(list, "nodes", entry));
                g_autofree char *reason = NULL;
                g_autoptr(State) state = NULL;
                GArray *array;

                cr_assert(g_file_set_contents(path, text, -1, NULL));
                (void) state_load(directory, sections, &state, &reason);
                array = g_str_equal(list, "files")        ? LIST(state, protected_files)
                        : g_str_equal(list, "functions")  ? LIST(state, function_marks)
                        : g_str_equal(list, "inhibitors") ? LIST(state, inhibitors)
                        : g_str_equal(list, "operations") ? LIST(state, operations)
                                                          : LIST(state, device_nodes);
                cr_assert_eq(array->len, cases[i].kept, "%s: %u: %s", text, array->len, reason);
                cr_assert_gt(LIST(state, protected_files)->len, 0, "%s: %s", text, reason);
                cr_assert_eq(g_array_index(LIST(state, protected_files), StateFile, 0).mode, 0200,
                             "%s", text);
        }
}

/* A killed daemon's unfinished file goes; what is not ours stays. */
Test(state, left_over_files) {
        static const char *const names[] = { "state.json.AbC123", "state.json.damaged",
                                             "state.json.1234567", "other.AbC123" };
        g_autofree char *reason = NULL;
        g_autoptr(State) state = NULL;

        for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
                g_autofree char *path = g_build_filename(directory, names[i], NULL);

                cr_assert(g_file_set_contents(path, "{", -1, NULL));
        }
        cr_assert_eq(state_load(directory, sections, &state, &reason), -ENOENT);
        for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
                g_autofree char *path = g_build_filename(directory, names[i], NULL);

                cr_assert_eq(g_file_test(path, G_FILE_TEST_EXISTS), i > 0, "%s", names[i]);
        }
}

Test(state, a_save_that_fails_leaves_the_old) {
        g_autofree char *path = g_build_filename(directory, "state.json", NULL), *text = NULL;
        g_autoptr(State) state = state_new(sections);
        struct rlimit limit = { 20, RLIM_INFINITY };
        g_autoptr(GDir) dir = NULL;

        cr_assert(g_file_set_contents(path, "old", -1, NULL));
        cr_assert_neq(signal(SIGXFSZ, SIG_IGN), SIG_ERR);
        cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
        cr_assert_eq(state_save(directory, state), -EFBIG);
        cr_assert(g_file_get_contents(path, &text, NULL, NULL));
        cr_assert_str_eq(text, "old");
        dir = g_dir_open(directory, 0, NULL);
        cr_assert_str_eq(g_dir_read_name(dir), "state.json");
        cr_assert_null(g_dir_read_name(dir));
}

Test(state, a_directory_that_is_not_there) {
        g_autofree char *missing = g_build_filename(directory, "missing", NULL);
        g_autoptr(State) state = state_new(sections);

        cr_assert_lt(state_save(missing, state), 0);
}
