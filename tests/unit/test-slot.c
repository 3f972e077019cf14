#include "policy/check.h"
#include "policy/external-removal.h"
#include "policy/slot.h"
#include "tests/unit/facts.h"

#include <criterion/criterion.h>

/* Below a root port: an ARI device, whose functions above 7 have another device number; ARIVF is a
 * VF of its first function, FARVF one of the last, LOST one of a PF that is not known. Below
 * another: a switch with two ports, and a card in each. On the root bus and on a conventional bus:
 * two devices each. */
#define PORT   "0000:00:1c.0"
#define ARI    "0000:06:00.0"
#define ARI1   "0000:06:00.1"
#define FAR    "0000:06:01.0"
#define ARIVF  "0000:06:04.0"
#define FARVF  "0000:07:00.0"
#define LOST   "0000:07:00.1"
#define ROOT   "0000:00:02.0"
#define UP     "0000:01:00.0"
#define DOWN1  "0000:02:00.0"
#define DOWN2  "0000:02:01.0"
#define CARD1  "0000:03:00.0"
#define CARD2  "0000:04:00.0"
#define BRIDGE "0000:00:1e.0"
#define OLD1   "0000:09:01.0"
#define OLD1B  "0000:09:01.1"
#define OLD2   "0000:09:02.0"
#define PLAIN  "0000:00:1f.0"
#define PLAINB "0000:00:1f.3"

static Inventory *world;

static void add(FunctionFacts facts, const char *parent, const char *driver) {
        facts = facts_driver(facts, driver);
        facts.has_parent = parent;
        facts.parent = parent ? key_of(parent) : 0;
        facts.class_code =
                g_str_equal(driver, "pcieport") || g_str_equal(driver, "") ? 0x060400 : 0x020000;
        apply(world, facts);
}

static void set_up(void) {
        static const char *const tree[][3] = {
                { PORT, NULL, "pcieport" },    { ARI1, PORT, "vfio-pci" },
                { ROOT, NULL, "pcieport" },    { UP, ROOT, "pcieport" },
                { DOWN1, UP, "pcieport" },     { DOWN2, UP, "pcieport" },
                { CARD1, DOWN1, "vfio-pci" },  { CARD2, DOWN2, "vfio-pci" },
                { BRIDGE, NULL, "" },          { OLD1, BRIDGE, "vfio-pci" },
                { OLD1B, BRIDGE, "vfio-pci" }, { OLD2, BRIDGE, "vfio-pci" },
                { PLAIN, NULL, "vfio-pci" },   { PLAINB, NULL, "vfio-pci" },
        };

        world = inventory_new();
        for (size_t i = 0; i < G_N_ELEMENTS(tree); i++)
                add(facts_plain(tree[i][0]), tree[i][1], tree[i][2]);
        add(facts_pf(ARI, VFS(ARIVF)), PORT, "igb");
        add(facts_vf(ARIVF, ARI), PORT, "vfio-pci");
        add(facts_pf(FAR, VFS(FARVF)), PORT, "igb");
        add(facts_vf(FARVF, FAR), PORT, "vfio-pci");
}

static void tear_down(void) {
        inventory_free(world);
}

TestSuite(slot, .init = set_up, .fini = tear_down);

static Function *get(const char *address) {
        Function *function = inventory_get(world, key_of(address));

        cr_assert_not_null(function, "%s", address);
        return function;
}

static void use(const char *address) {
        use_by(world, get(address), (User){ 0 });
}

Test(slot, who_shares_one) {
        static const struct {
                const char *function, *slot, *mates;
                bool own;
        } rows[] = {
                { ARI, "0000:06:00.0", ARI1 " " FAR, false },
                { ARI1, "0000:06:00.0", ARI " " FAR, false },
                { FAR, "0000:06:00.0", ARI " " ARI1, false },
                { ARIVF, "0000:06:00.0", "", false },
                { UP, "0000:01:00.0", "", true },
                { DOWN1, "0000:02:00.0", "", true },
                { DOWN2, "0000:02:01.0", "", true },
                { CARD1, "0000:03:00.0", "", true },
                { OLD1, "0000:09:01.0", OLD1B, false },
                { OLD1B, "0000:09:01.0", OLD1, false },
                { OLD2, "0000:09:02.0", "", true },
                { PLAIN, "0000:00:1f.0", PLAINB, false },
                { ROOT, "0000:00:02.0", "", true },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
                const Function *function = get(rows[i].function);
                g_autoptr(GPtrArray) mates = slot_mates(world, function);
                g_autofree char *text = addresses(mates);
                char slot[PCI_ADDRESS_STRING_MAX];

                cr_expect_str_eq(text, rows[i].mates, "%s: %s", rows[i].function, text);
                cr_expect_str_eq(pci_address_format(slot_address(function), slot), rows[i].slot,
                                 "%s: %s", rows[i].function, slot);
                cr_expect_eq(slot_is_own(world, function), rows[i].own, "%s", rows[i].function);
        }
}

/* Nothing else leads to it. */
Test(slot, vf_whose_pf_is_not_known) {
        g_autoptr(GPtrArray) mates = NULL;
        g_autofree char *text = NULL;

        add(facts_vf(LOST, "0000:06:02.0"), PORT, "vfio-pci");
        mates = slot_mates(world, get(ARI));
        text = addresses(mates);
        cr_assert_str_eq(text, ARI1 " " FAR " " LOST);
}

/* A port that has lost its driver has no slot of pciehp. */
Test(slot, port_without_a_driver) {
        Function *port = get(PORT);
        g_autoptr(GPtrArray) mates = NULL;
        g_autofree char *text = NULL;

        g_ref_string_release(port->facts.driver);
        port->facts.driver = g_ref_string_new_intern("");
        mates = slot_mates(world, get(ARI));
        text = addresses(mates);
        cr_assert_str_eq(text, ARI1);
}

Test(slot, port_that_is_not_known) {
        add(facts_plain("0000:0a:00.0"), "0000:00:1d.0", "vfio-pci");
        cr_assert_not(slot_is_own(world, get("0000:0a:00.0")));
        cr_assert_not(slot_is_known(get("0000:0a:00.0")));
        cr_assert(slot_is_known(get(ROOT)));
        cr_assert(slot_is_known(get(CARD1)));
        cr_assert(slot_is_known(get(ARIVF)));
}

Test(slot, s390) {
        Function *function = get(FAR);
        g_autoptr(GPtrArray) mates = NULL;

        function->facts.s390 = true;
        mates = slot_mates(world, function);
        cr_assert_eq(mates->len, 0);
        cr_assert(slot_is_own(world, function));
        cr_assert_eq(pci_address_key(slot_address(function)), function->facts.key);
}

/* By how many blockers with this subject. */
static unsigned count_blockers(const char *asked, Operation operation, const char *by) {
        g_autoptr(Verdict) verdict = check(world, get(asked), operation, 0);
        unsigned n = 0;

        for (guint i = 0; i < verdict->blockers->len; i++)
                n += g_str_equal(((const Blocker *) verdict->blockers->pdata[i])->subject, by);
        return n;
}

static bool power_off_is_blocked(const char *asked, const char *by) {
        return count_blockers(asked, OPERATION_POWER_OFF, by) > 0;
}

Test(slot, a_user_of_one_stands_against_the_power_off) {
        cr_assert_not(power_off_is_blocked(ARI, FAR));
        use(FAR);
        use(CARD1);
        cr_assert(power_off_is_blocked(ARI, FAR));
        cr_assert(power_off_is_blocked(ARI1, FAR));
        cr_assert_not(power_off_is_blocked(CARD2, CARD1));
}

Test(slot, a_user_of_another_pfs_vf_stands_against_the_power_off_alone) {
        use(FARVF);
        for (Operation i = 0; i < _OPERATION_MAX; i++)
                cr_expect_eq(count_blockers(ARI, i, FARVF), i == OPERATION_POWER_OFF, "%s",
                             operation_to_string(i));
        cr_assert_eq(count_blockers(ARI1, OPERATION_POWER_OFF, FARVF), 1);
}

/* It may wait for a guest for as long as that likes. */
Test(slot, what_is_done_to_another_pfs_vf_stands_against_the_power_off_alone) {
        static const RunningOperation unbind = { .name = "unbind", .pid = 1 };
        g_autoptr(GPtrArray) related = NULL;

        get(FARVF)->operation = &unbind;
        for (Operation i = 0; i < _OPERATION_MAX; i++) {
                cr_expect_eq(count_blockers(ARI, i, FARVF), i == OPERATION_POWER_OFF, "%s",
                             operation_to_string(i));
                cr_expect_eq(count_blockers(FAR, i, FARVF), 1, "%s", operation_to_string(i));
        }
        related = check_related(world, get(ARI));
        cr_assert_not(g_ptr_array_find(related, get(FARVF), NULL));
        cr_assert(g_ptr_array_find(related, get(FAR), NULL));
        cr_assert(g_ptr_array_find(related, get(ARIVF), NULL));
        get(FARVF)->operation = NULL;
}

/* The kernel itself removes all of the slot. */
Test(slot, an_external_removal_takes_all) {
        g_autoptr(GPtrArray) writers = g_ptr_array_new(), affected = NULL;
        g_autofree char *text = NULL;
        RemovalFinding finding;

        use(ARI);
        g_ref_string_release(get(ARI)->facts.driver);
        get(ARI)->facts.driver = g_ref_string_new_intern("");
        finding = external_removal_judge(get(ARI), &(RemovalPlace){ 0 }, writers);
        affected = external_removal_affected(world, get(ARI), &finding);
        text = addresses(affected);
        cr_assert_str_eq(text, ARI " " ARIVF " " ARI1 " " FARVF " " FAR);
}
