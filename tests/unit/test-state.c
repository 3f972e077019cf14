#include "daemon/state.h"

#include <criterion/criterion.h>
#include <errno.h>

static char *directory;

static void set_up(void) {
        directory = g_dir_make_tmp("vfwarden-state-XXXXXX", NULL);
}

static void tear_down(void) {
        g_autofree char *command = g_strdup_printf("rm -r '%s'", directory);

        cr_assert(g_spawn_command_line_sync(command, NULL, NULL, NULL, NULL));
        g_free(directory);
}

TestSuite(state, .init = set_up, .fini = tear_down);

Test(state, comes_back_as_it_was) {
        g_autoptr(State) saved = state_new(), loaded = NULL;
        g_autofree char *reason = NULL;
        StateFile file = { g_strdup("/sys/bus/pci/devices/0000:01:00.0/remove"), UINT64_MAX - 1,
                           0220 };
        StateFunction locked = { 0x1234567890abULL, 1, g_strdup("a \"why\"\n with é"), false };
        StateFunction tainted = { 0x100, 0x100000001ULL, NULL, true };

        StateNode node = { g_strdup("vfio/12"), 0xea01, 0660 };

        g_array_append_val(saved->nodes, node);
        g_array_append_val(saved->files, file);
        g_array_append_val(saved->functions, locked);
        g_array_append_val(saved->functions, tainted);
        cr_assert_eq(state_save(directory, saved), 0);

        cr_assert_eq(state_load(directory, &loaded, &reason), 0, "%s", reason);
        cr_assert_eq(loaded->files->len, 1);
        cr_assert_eq(loaded->functions->len, 2);
        cr_assert_eq(loaded->nodes->len, 1);
        StateNode *n = &g_array_index(loaded->nodes, StateNode, 0);
        cr_assert_str_eq(n->name, "vfio/12");
        cr_assert_eq(n->device, 0xea01);
        cr_assert_eq(n->mode, 0660);
        StateFile *f = &g_array_index(loaded->files, StateFile, 0);
        cr_assert_str_eq(f->path, file.path);
        cr_assert_eq(f->inode, file.inode);
        cr_assert_eq(f->mode, file.mode);
        StateFunction *functions = (StateFunction *) (void *) loaded->functions->data;
        cr_assert_eq(functions[0].key, locked.key);
        cr_assert_str_eq(functions[0].lock_why, locked.lock_why);
        cr_assert_not(functions[0].tainted);
        cr_assert_eq(functions[1].inode, tainted.inode);
        cr_assert_null(functions[1].lock_why);
        cr_assert(functions[1].tainted);
}

Test(state, leases_and_tokens) {
        g_autoptr(State) saved = state_new(), loaded = NULL;
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

        g_array_append_val(saved->leases, lease);
        g_array_append_val(saved->vf_tokens, token);
        cr_assert_eq(state_save(directory, saved), 0);
        cr_assert_eq(state_load(directory, &loaded, &reason), 0, "%s", reason);
        cr_assert_eq(loaded->leases->len, 1);
        cr_assert_eq(loaded->vf_tokens->len, 1);
        StateLease *l = &g_array_index(loaded->leases, StateLease, 0);
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
        StateVfToken *t = &g_array_index(loaded->vf_tokens, StateVfToken, 0);
        cr_assert_eq(t->number, 3);
        cr_assert_eq(t->key, 0x200);
        cr_assert_eq(t->inode, 6);
        cr_assert_eq(t->binding, 7);
        cr_assert(t->imposed);
}

Test(state, none_is_empty) {
        g_autoptr(State) state = NULL;
        g_autofree char *reason = NULL;

        cr_assert_eq(state_load(directory, &state, &reason), -ENOENT);
        cr_assert_eq(state->files->len + state->functions->len, 0);
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
                cr_assert_eq(state_load(directory, &state, &reason), -EBADMSG, "%s", damaged[i]);
                cr_assert_not_null(reason);
                cr_assert_eq(state->files->len + state->functions->len, 0, "%s", damaged[i]);
                cr_assert_not(g_file_test(path, G_FILE_TEST_EXISTS));
                cr_assert(g_file_get_contents(aside, &kept, NULL, NULL));
                cr_assert_str_eq(kept, damaged[i]);
        }
}

Test(state, a_directory_that_is_not_there) {
        g_autofree char *missing = g_build_filename(directory, "missing", NULL);
        g_autoptr(State) state = state_new();

        cr_assert_lt(state_save(missing, state), 0);
}
