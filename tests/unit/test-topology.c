#include "policy/check.h"
#include "policy/lock.h"
#include "policy/topology.h"
#include "tests/unit/facts.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <time.h>

/* A root port with a switch, two cards below it, one of them a PF with a VF and a second function;
 * a VMD controller with a disk in a domain of its own; and a function by itself. */
#define ROOT  "0000:00:02.0"
#define UP    "0000:01:00.0"
#define DOWN1 "0000:02:01.0"
#define DOWN2 "0000:02:02.0"
#define PF    "0000:03:00.0"
#define MATE  "0000:03:00.1"
#define VF    "0000:03:10.0"
#define CARD  "0000:04:00.0"
#define VMD   "0000:00:0e.0"
#define PORT  "10000:00:01.0"
#define DISK  "10000:01:00.0"
#define OTHER "0000:00:1f.0"

static Inventory *world;
static PatternList *drivers;
static Inhibitor inhibitor = { .who = (char *) "backup", .why = (char *) "copying", .pid = 12 };

static const struct {
        const char *address, *parent;
        unsigned class_code;
} tree[] = {
        { ROOT, NULL, 0x060400 },  { UP, ROOT, 0x060400 },    { DOWN1, UP, 0x060400 },
        { DOWN2, UP, 0x060400 },   { MATE, DOWN1, 0x020000 }, { CARD, DOWN2, 0x020000 },
        { VMD, NULL, 0x010400 },   { PORT, VMD, 0x060400 },   { DISK, PORT, 0x010802 },
        { OTHER, NULL, 0x010601 },
};

static FunctionFacts below(FunctionFacts facts, const char *parent, unsigned class_code) {
        facts.has_parent = parent;
        facts.parent = parent ? key_of(parent) : 0;
        facts.class_code = class_code;
        return facts;
}

static void add_endpoints(void) {
        apply(world, below(facts_driver(facts_vf(VF, PF), "vfio-pci"), DOWN1, 0x020000));
        apply(world, below(facts_driver(facts_pf(PF, VFS(VF)), "igb"), DOWN1, 0x020000));
}

static void set_up(void) {
        world = inventory_new();
        cr_assert_eq(pattern_list_parse("vfio-pci", &drivers, NULL), 0);
        for (size_t i = 0; i < G_N_ELEMENTS(tree); i++)
                apply(world,
                      below(facts_plain(tree[i].address), tree[i].parent, tree[i].class_code));
        add_endpoints();
}

static void tear_down(void) {
        inventory_free(world);
        pattern_list_free(drivers);
}

TestSuite(topology, .init = set_up, .fini = tear_down);

static Function *get(const char *address) {
        Function *function = inventory_get(world, key_of(address));

        cr_assert_not_null(function, "%s", address);
        return function;
}

static void use(Function *function) {
        GPtrArray *users = user_list_new();
        User user = { .pid = 4711,
                      .command = (char *) "qemu",
                      .unit = (char *) "",
                      .machine = (char *) "web" };

        g_ptr_array_add(users, user_copy(&user));
        inventory_set_users(world, function, users);
}

/* "user ADDRESS, lock ADDRESS": the blockers in their order. */
static char *blockers(const char *address, Operation operation) {
        g_autoptr(Verdict) verdict = check(world, get(address), operation, 0);
        g_autoptr(GString) text = g_string_new(NULL);

        for (guint i = 0; i < verdict->blockers->len; i++) {
                const Blocker *blocker = verdict->blockers->pdata[i];

                g_string_append_printf(text, "%s%s %s", i > 0 ? ", " : "",
                                       blocker_kind_to_string(blocker->kind), blocker->subject);
        }
        return g_string_free(g_steal_pointer(&text), FALSE);
}

static char *take_addresses(GPtrArray *functions) {
        g_autoptr(GPtrArray) owned = functions;

        return addresses(owned);
}

Test(topology, links) {
        g_autofree char *of_root = take_addresses(topology_children(get(ROOT)));
        g_autofree char *of_up = take_addresses(topology_children(get(UP)));
        g_autofree char *of_down = take_addresses(topology_children(get(DOWN1)));
        g_autofree char *of_vmd = take_addresses(topology_children(get(VMD)));
        g_autofree char *all = take_addresses(topology_below(get(ROOT)));
        g_autofree char *path = topology_path(get(ROOT), get(VF));

        cr_assert_str_eq(of_root, UP);
        cr_assert_str_eq(of_up, DOWN1 " " DOWN2);
        cr_assert_str_eq(of_down, PF " " MATE " " VF);
        cr_assert_str_eq(of_vmd, PORT, "a function of another domain");
        cr_assert_str_eq(all, PF " " MATE " " VF " " DOWN1 " " CARD " " DOWN2 " " UP);
        cr_assert_str_eq(path, ROOT " > " UP " > " DOWN1 " > " VF);
        cr_assert(topology_is_below(get(DISK), get(VMD)));
        cr_assert_not(topology_is_below(get(OTHER), get(ROOT)));
}

/* In whichever order they come and go, the same is known in the end. */
Test(topology, order_does_not_matter) {
        use(get(VF));
        inventory_remove(world, get(DOWN1));
        cr_assert_eq(topology_marks_below(get(ROOT)), 0);
        cr_assert_null(get(VF)->parent);
        apply(world, below(facts_plain(DOWN1), UP, 0x060400));
        cr_assert_eq(get(VF)->parent, get(DOWN1));
        cr_assert_eq(topology_marks_below(get(ROOT)), TOPOLOGY_MARK_USED | TOPOLOGY_MARK_HELD);

        inventory_remove(world, get(VF));
        cr_assert_eq(topology_marks_below(get(ROOT)), 0);
        inventory_remove(world, get(ROOT));
        add_endpoints();
        use(get(VF));
        apply(world, below(facts_plain(ROOT), NULL, 0x060400));
        cr_assert_eq(topology_marks_below(get(ROOT)), TOPOLOGY_MARK_USED | TOPOLOGY_MARK_HELD);
        inventory_set_users(world, get(VF), NULL);
        cr_assert_eq(topology_marks_below(get(ROOT)), 0);
}

/* A path of sysfs has no circle; what claims one is linked with nothing. */
Test(topology, circles) {
        apply(world, below(facts_plain("0000:09:00.0"), "0000:09:00.0", 0));
        cr_assert_null(get("0000:09:00.0")->parent);
        apply(world, below(facts_plain("0000:0a:00.0"), "0000:0b:00.0", 0));
        apply(world, below(facts_plain("0000:0b:00.0"), "0000:0a:00.0", 0));
        cr_assert(!get("0000:0a:00.0")->parent || !get("0000:0b:00.0")->parent);
}

/* Whatever is known of a function stands against what would take along what it is below. */
Test(topology, judged_for_all_below) {
        static const Operation taking[] = { OPERATION_BIND, OPERATION_UNBIND, OPERATION_RESET,
                                            OPERATION_REMOVE, OPERATION_POWER_OFF };
        static const char *const above[] = { ROOT, UP, DOWN1 };
        static const RunningOperation running = { .name = "bind", .pid = 99 };
        static const struct {
                const char *address;
                enum {
                        USE,
                        LOCK,
                        INHIBIT,
                        RUN,
                        UNREADABLE
                } what;
                const char *blockers;
        } rows[] = {
                { VF, USE, "user " VF },      { MATE, USE, "user " MATE },
                { VF, LOCK, "lock " VF },     { PF, INHIBIT, "inhibitor backup" },
                { PF, RUN, "operation " PF }, { PF, UNREADABLE, "unreadable " PF },
        };

        inhibitor.operations = 1U << OPERATION_REMOVE | 1U << OPERATION_RESET;
        for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
                Function *function = get(rows[i].address);

                function->lock_why = rows[i].what == LOCK ? g_strdup("customer 7") : NULL;
                function->operation = rows[i].what == RUN ? &running : NULL;
                function->unreadable_vfs = rows[i].what == UNREADABLE;
                if (rows[i].what == INHIBIT) {
                        function->inhibitors = g_ptr_array_new();
                        g_ptr_array_add(function->inhibitors, &inhibitor);
                }
                if (rows[i].what == USE)
                        use(function);
                topology_update(function);
                for (size_t j = 0; j < G_N_ELEMENTS(taking) * G_N_ELEMENTS(above); j++) {
                        const char *address = above[j / G_N_ELEMENTS(taking)];
                        Operation operation = taking[j % G_N_ELEMENTS(taking)];
                        g_autofree char *found = blockers(address, operation);
                        g_autofree char *elsewhere = blockers(DOWN2, operation);

                        cr_assert_str_eq(found, rows[i].blockers, "row %zu: %s of %s: %s", i,
                                         operation_to_string(operation), address, found);
                        cr_assert_str_eq(elsewhere, "", "row %zu: %s", i, elsewhere);
                }
                g_clear_pointer(&function->lock_why, g_free);
                function->operation = NULL;
                function->unreadable_vfs = false;
                g_clear_pointer(&function->inhibitors, g_ptr_array_unref);
                inventory_set_users(world, function, NULL);
                topology_update(function);
                cr_assert_eq(topology_marks_below(get(ROOT)), 0, "row %zu", i);
        }
}

/* vmd takes its whole domain along. */
Test(topology, other_domain) {
        g_autofree char *none = blockers(VMD, OPERATION_UNBIND), *found = NULL;

        use(get(DISK));
        found = blockers(VMD, OPERATION_UNBIND);
        cr_assert_str_eq(none, "");
        cr_assert_str_eq(found, "user " DISK);
}

/* The answer names the way to the one below. */
Test(topology, words) {
        g_autoptr(Verdict) verdict = NULL;
        g_autofree char *text = NULL;

        use(get(VF));
        verdict = check(world, get(ROOT), OPERATION_REMOVE, 0);
        text = verdict_text(verdict);
        cr_assert(g_str_has_prefix(text, VF ": is below it (" ROOT " > " UP " > " DOWN1 " > " VF
                                            ") and in use by "),
                  "%s", text);
}

/* A slot that holds a switch: its power takes all of that along, whichever function it is asked
 * for. */
Test(topology, slot_of_a_switch) {
        static const char *const asked[] = { UP, DOWN2, CARD, PF, VF };

        get(UP)->slot = "5";
        use(get(VF));
        for (size_t i = 0; i < G_N_ELEMENTS(asked); i++) {
                g_autofree char *found = blockers(asked[i], OPERATION_POWER_OFF);

                cr_assert_eq(topology_slot_owner(get(asked[i])), get(UP), "%s", asked[i]);
                cr_assert_str_eq(found, "user " VF, "%s: %s", asked[i], found);
        }
        get(DOWN2)->slot = "6"; /* the switch has slots of its own; this is the wrong side of one */
        cr_assert_eq(topology_slot_owner(get(CARD)), get(DOWN2));
        cr_assert_null(topology_slot_owner(get(OTHER)));
}

Test(topology, locks) {
        static const unsigned closed = 1U << LOCK_FILE_REMOVE | 1U << LOCK_FILE_RESET |
                                       1U << LOCK_FILE_RESET_METHOD |
                                       1U << LOCK_FILE_RESET_SUBORDINATE | 1U << LOCK_FILE_RECOVER |
                                       1U << LOCK_FILE_SLOT_POWER | 1U << LOCK_FILE_ENABLE |
                                       1U << LOCK_FILE_ROM | 1U << LOCK_FILE_EJECT;
        Function *root = get(ROOT), *card = get(CARD);

        cr_assert_eq(lock_reasons(root, drivers), 0);
        use(card);
        cr_assert_eq(lock_reasons(root, drivers), LOCK_REASON_BELOW_IN_USE);
        cr_assert_eq(lock_reasons_files(root, LOCK_REASON_BELOW_IN_USE), closed);
        cr_assert_eq(lock_reasons(get(DOWN1), drivers), 0);
        inventory_set_users(world, card, NULL);
        card->lock_why = g_strdup("");
        topology_update(card);
        cr_assert_eq(lock_reasons(root, drivers), LOCK_REASON_BELOW_LOCKED);
        cr_assert_eq(lock_reasons_files(root, LOCK_REASON_BELOW_LOCKED), closed);
        g_clear_pointer(&card->lock_why, g_free);
        inhibitor.operations = 1U << OPERATION_RESET;
        card->inhibitors = g_ptr_array_new();
        g_ptr_array_add(card->inhibitors, &inhibitor);
        topology_update(card);
        cr_assert_eq(lock_reasons(root, drivers), LOCK_REASON_INHIBITOR);
        cr_assert_eq(lock_reasons_files(root, LOCK_REASON_INHIBITOR),
                     1U << LOCK_FILE_RESET | 1U << LOCK_FILE_RESET_METHOD |
                             1U << LOCK_FILE_RESET_SUBORDINATE | 1U << LOCK_FILE_ENABLE |
                             1U << LOCK_FILE_ROM);
}

/* Two operations do not run one above the other. */
Test(topology, related) {
        g_autoptr(GPtrArray) of_root = check_related(world, get(ROOT));
        g_autoptr(GPtrArray) of_card = check_related(world, get(CARD));

        cr_assert(g_ptr_array_find(of_root, get(VF), NULL));
        cr_assert(g_ptr_array_find(of_card, get(ROOT), NULL));
        cr_assert_not(g_ptr_array_find(of_card, get(DOWN1), NULL));
}

static double now(void) {
        struct timespec t;

        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
        return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

/* Adds `width` children to each function of a tree that is `depth` levels deep. */
static void grow(Inventory *inventory, PciAddress *next, PciKey parent, unsigned depth,
                 unsigned width) {
        for (unsigned i = 0; i < width; i++) {
                char address[PCI_ADDRESS_STRING_MAX];
                FunctionFacts facts = facts_plain(pci_address_format(*next, address));
                PciKey key = facts.key;

                facts.has_parent = true;
                facts.parent = parent;
                facts.class_code = depth > 1 ? 0x060400 : 0x020000;
                apply(inventory, facts);
                if (++next->bus == 0)
                        next->domain++;
                if (depth > 1)
                        grow(inventory, next, key, depth - 1, width);
        }
}

/* Seconds for one question about the root, one of whose functions below is used. */
static double ask_often(unsigned width, unsigned *ret_n) {
        enum {
                CALLS = 20000
        };
        g_autoptr(Inventory) inventory = inventory_new();
        Function *root = apply(inventory, facts_plain("0000:00:02.0"));
        PciAddress next = { .domain = 1 };
        double start;

        grow(inventory, &next, root->facts.key, 6, width);
        *ret_n = inventory_count(inventory);
        {
                g_autoptr(GPtrArray) all = topology_below(root);
                GPtrArray *users = user_list_new();
                User user = { .pid = 1,
                              .command = (char *) "",
                              .unit = (char *) "",
                              .machine = (char *) "" };

                g_ptr_array_add(users, user_copy(&user));
                inventory_set_users(inventory, all->pdata[0], users);
        }
        start = now();
        for (unsigned i = 0; i < CALLS; i++) {
                g_autoptr(Verdict) verdict = check(inventory, root, OPERATION_REMOVE, 0);

                cr_assert_eq(verdict->blockers->len, 1);
        }
        return (now() - start) / CALLS;
}

/* Ten thousand functions in six levels cost what sixty cost. */
Test(topology, cost_does_not_grow_with_who_is_not_concerned) {
        unsigned n_small, n_large;
        double small = ask_often(1, &n_small), large = ask_often(5, &n_large);

        printf("%u functions: %.1f us, %u functions: %.1f us\n", n_small, small * 1e6, n_large,
               large * 1e6);
        cr_assert_gt(n_large, 10000);
        cr_assert_lt(large, 4 * small + 20e-6);
}
