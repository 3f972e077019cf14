#include "policy/check.h"
#include "policy/topology.h"
#include "tests/unit/facts.h"

#include <criterion/criterion.h>

/* A root port with a disk and a PF with two VFs below it; a function on VFIO. */
#define ROOT  "0000:00:02.0"
#define DISK  "0000:01:00.0"
#define PF    "0000:02:00.0"
#define VF0   "0000:02:10.0"
#define VF1   "0000:02:10.1"
#define GUEST "0000:03:00.0"

static Inventory *world;

static FunctionFacts below(FunctionFacts facts, const char *driver) {
        facts = facts_driver(facts, driver);
        facts.has_parent = true;
        facts.parent = key_of(ROOT);
        return facts;
}

static void set_up(void) {
        FunctionFacts root = facts_driver(facts_plain(ROOT), "pcieport");

        world = inventory_new();
        root.class_code = 0x060400;
        apply(world, root);
        apply(world, below(facts_plain(DISK), "nvme"));
        apply(world, below(facts_vf(VF0, PF), "igbvf"));
        apply(world, below(facts_vf(VF1, PF), "igbvf"));
        apply(world, below(facts_pf(PF, VFS(VF0, VF1)), "igb"));
        apply(world, below(facts_plain(GUEST), "vfio-pci"));
}

static void tear_down(void) {
        inventory_free(world);
}

TestSuite(use, .init = set_up, .fini = tear_down);

static Function *get(const char *address) {
        Function *function = inventory_get(world, key_of(address));

        cr_assert_not_null(function, "%s", address);
        return function;
}

static void use(const char *address, UseKind kind, const char *object, const char *by) {
        GPtrArray *uses = use_list_new();

        g_ptr_array_add(uses, use_new(kind, object, by, 0));
        inventory_set_uses(get(address), uses);
}

/* The subjects of the blockers of kind `host`; the reason of the last one. */
static char *hosts(const char *address, Operation operation, unsigned flags, char **ret_reason) {
        g_autoptr(Verdict) verdict = check(world, get(address), operation, flags);
        g_autoptr(GString) text = g_string_new(NULL);

        for (guint i = 0; i < verdict->blockers->len; i++) {
                const Blocker *blocker = verdict->blockers->pdata[i];

                if (blocker->kind != BLOCKER_HOST)
                        continue;
                g_string_append_printf(text, "%s%s", text->len > 0 ? " " : "", blocker->subject);
                if (ret_reason) {
                        g_free(*ret_reason);
                        *ret_reason = g_strdup(blocker->reason);
                }
        }
        return g_string_free(g_steal_pointer(&text), FALSE);
}

static void expect(const char *address, Operation operation, unsigned flags, const char *wanted) {
        g_autofree char *found = hosts(address, operation, flags, NULL);

        cr_assert_str_eq(found, wanted, "%s of %s: %s", operation_to_string(operation), address,
                         found);
}

Test(use, what_it_stands_against) {
        static const struct {
                Operation operation;
                const char *of_vf, *of_pf, *of_root;
        } rows[] = {
                { OPERATION_SET_NUM_VFS, "", VF1, "" },  { OPERATION_SET_AUTOPROBE, "", "", "" },
                { OPERATION_BIND, VF1, VF1, VF1 },       { OPERATION_UNBIND, VF1, VF1, VF1 },
                { OPERATION_RESET, VF1, VF1, VF1 },      { OPERATION_REMOVE, VF1, VF1, VF1 },
                { OPERATION_DISABLE_PASID, "", "", "" }, { OPERATION_OPEN, "", "", "" },
        };

        use(VF1, USE_NETWORK_NAMESPACE, "eth3", "pod1");
        for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
                expect(VF1, rows[i].operation, 0, rows[i].of_vf);
                expect(PF, rows[i].operation, 0, rows[i].of_pf);
                expect(ROOT, rows[i].operation, 0, rows[i].of_root);
                expect(VF0, rows[i].operation, 0, "");
                expect(DISK, rows[i].operation, 0, "");
                expect(PF, rows[i].operation, CHECK_OVERRIDE_HOST, "");
                expect(ROOT, rows[i].operation, CHECK_OVERRIDE_HOST, "");
        }
        expect(PF, OPERATION_UNBIND, CHECK_OVERRIDE, VF1);
}

Test(use, words) {
        g_autofree char *reason = NULL, *found = NULL;

        use(DISK, USE_BLOCK_MOUNT, "nvme0n1p1", "/");
        found = hosts(DISK, OPERATION_UNBIND, 0, &reason);
        cr_assert_str_eq(reason, "its block device nvme0n1p1 is mounted on /");
        g_free(found);
        found = hosts(ROOT, OPERATION_REMOVE, 0, &reason);
        cr_assert_str_eq(reason,
                         "is below it (" ROOT " > " DISK ") and used by the host: its block "
                         "device nvme0n1p1 is mounted on /");
        use(VF0, USE_NETWORK_NAMESPACE, "eth3", "pod1");
        g_free(found);
        found = hosts(PF, OPERATION_SET_NUM_VFS, 0, &reason);
        cr_assert_str_eq(found, VF0);
        cr_assert_str_eq(reason,
                         "is a VF of it and used by the host: its network interface eth3 is "
                         "in the network namespace pod1");
}

/* The driver has gone, and the event that its interface has gone is yet to come. */
Test(use, without_a_driver_of_the_host) {
        use(DISK, USE_BLOCK_MOUNT, "nvme0n1p1", "/");
        expect(DISK, OPERATION_REMOVE, 0, DISK);
        apply(world, below(facts_plain(DISK), ""));
        expect(DISK, OPERATION_REMOVE, 0, "");
        apply(world, below(facts_plain(DISK), "vfio-pci"));
        expect(DISK, OPERATION_REMOVE, 0, "");
}

/* By its BARs or configuration space in sysfs, which are there whatever the driver is. */
Test(use, a_program_drives_it_by_sysfs) {
        static const UseKind kinds[] = { USE_PROGRAM_RESOURCE, USE_PROGRAM_MAPPED,
                                         USE_PROGRAM_CONFIG };
        static const char *const names[] = { "nvme", "", "vfio-pci", "igb-vfio-pci" };

        for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++) {
                use(DISK, kinds[i], "resource0", "flash (pid 4711)");
                for (size_t j = 0; j < G_N_ELEMENTS(names); j++) {
                        apply(world, below(facts_plain(DISK), names[j]));
                        expect(DISK, OPERATION_RESET, 0, DISK);
                        expect(DISK, OPERATION_UNBIND, 0, DISK);
                        expect(ROOT, OPERATION_REMOVE, 0, DISK);
                        expect(DISK, OPERATION_OPEN, 0, "");
                        expect(DISK, OPERATION_RESET, CHECK_OVERRIDE_HOST, "");
                }
        }
}

Test(use, an_unplug_is_refused) {
        use(VF1, USE_NETWORK_UP, "eth3", "");
        for (unsigned i = 0; i < 2; i++) {
                const unsigned flags = i == 0 ? 0 : CHECK_OVERRIDE_HOST;
                g_autoptr(Verdict) verdict = check_unplug(world, get(PF), false, flags);

                cr_assert_eq(verdict_allowed(verdict), i == 1, "%u", flags);
        }
}

Test(use, what_is_not_known_counts_as_used) {
        inventory_set_uses_known(world, USES_UNREADABLE, "its disks cannot be looked at");
        expect(DISK, OPERATION_UNBIND, 0, DISK);
        expect(ROOT, OPERATION_REMOVE, 0, ROOT);
        expect(PF, OPERATION_SET_NUM_VFS, 0, PF);
        expect(DISK, OPERATION_UNBIND, CHECK_OVERRIDE_HOST, "");
        expect(GUEST, OPERATION_UNBIND, 0, "");
        expect(DISK, OPERATION_OPEN, 0, "");
        inventory_set_uses_known(world, USES_UNREADABLE_OF_ALL, "its programs cannot be looked at");
        expect(DISK, OPERATION_UNBIND, 0, DISK);
        expect(GUEST, OPERATION_UNBIND, 0, GUEST);
        expect(GUEST, OPERATION_UNBIND, CHECK_OVERRIDE_HOST, "");
        expect(GUEST, OPERATION_OPEN, 0, "");
        inventory_set_uses_known(world, USES_NOT_YET, NULL);
        expect(DISK, OPERATION_UNBIND, 0, "");
        inventory_set_uses_known(world, USES_KNOWN, NULL);
        expect(DISK, OPERATION_UNBIND, 0, "");
}

Test(use, marks_those_above) {
        use(DISK, USE_BLOCK_SWAP, "nvme0n1", "");
        cr_assert(topology_marks_below(get(ROOT)) & TOPOLOGY_MARK_HOST);
        inventory_set_uses(get(DISK), NULL);
        cr_assert_not(topology_marks_below(get(ROOT)) & TOPOLOGY_MARK_HOST);
}

/* Anybody may open a render node, as often as they like. */
Test(use, warnings_take_no_place_of_what_stands) {
        g_autoptr(GPtrArray) uses = use_list_new();
        const Use *last;

        for (guint i = 0; i < USES_OF_FUNCTION_MAX + 3; i++)
                use_list_add(uses, use_new(USE_PROGRAM_DISPLAY, "renderD128", "game", i));
        cr_assert_eq(uses->len, USES_OF_FUNCTION_MAX);
        for (guint i = 0; i < USES_OF_FUNCTION_MAX + 3; i++) {
                use_list_add(uses, use_new(USE_PROGRAM_MAPPED, "resource0", "flash", i));
                cr_assert_eq(uses->len, USES_OF_FUNCTION_MAX);
        }
        for (guint i = 0; i < USES_OF_FUNCTION_MAX; i++) {
                last = uses->pdata[i];
                cr_assert_eq(last->kind, USE_PROGRAM_MAPPED);
                cr_assert_eq(last->pid, i);
        }
}

Test(use, lists_are_equal_or_not) {
        g_autoptr(GPtrArray) a = use_list_new(), b = use_list_new();

        cr_assert(uses_equal(NULL, a));
        g_ptr_array_add(a, use_new(USE_NETWORK_PORT, "eth1", "bond0", 0));
        cr_assert_not(uses_equal(NULL, a));
        g_ptr_array_add(b, use_new(USE_NETWORK_PORT, "eth1", "bond0", 0));
        cr_assert(uses_equal(a, b));
        g_ptr_array_add(a, use_new(USE_NETWORK_UP, "eth1", "", 0));
        g_ptr_array_add(b, use_new(USE_NETWORK_UP, "eth2", "", 0));
        cr_assert_not(uses_equal(a, b));
}
