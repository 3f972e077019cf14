#include "policy/plan.h"
#include "tests/unit/facts.h"

#include <criterion/criterion.h>

#define PF  "0000:01:00.0"
#define VF0 "0000:01:10.0"
#define VF1 "0000:01:10.2"

static Inventory *world;

static void set_up(void) {
        world = inventory_new();
        apply(world, facts_driver(facts_pf(PF, VFS(VF0, VF1)), "igb"));
        apply(world, facts_driver(facts_vf(VF0, PF), "vfio-pci"));
        apply(world, facts_vf(VF1, PF));
}

static void tear_down(void) {
        inventory_free(world);
}

TestSuite(plan, .init = set_up, .fini = tear_down);

static Function *get(const char *address) {
        return inventory_get(world, key_of(address));
}

/* "0000:01:00.0/reset=1 drivers/igb/bind=...": the steps, shortened; behind "!" what is to be
 * unbound. */
static char *text_of(const GPtrArray *steps) {
        g_autoptr(GString) text = g_string_new(NULL);

        for (guint i = 0; i < steps->len; i++) {
                const PlanStep *step = steps->pdata[i];

                cr_assert(g_str_has_prefix(step->path, "/sys/bus/pci/"), "%s", step->path);
                g_string_append_printf(text, "%s%s=%s", i > 0 ? " " : "",
                                       step->path + strlen("/sys/bus/pci/"), step->value);
                for (guint j = 0; step->unbound && j < step->unbound->len; j++) {
                        const char *link = step->unbound->pdata[j];

                        cr_assert(g_str_has_suffix(link, "/driver"), "%s", link);
                        g_string_append_printf(text, "!%s", link + strlen("/sys/bus/pci/"));
                }
        }
        g_string_replace(text, "devices/", "", 0);
        g_string_replace(text, "0000:01:", "", 0);
        g_string_replace(text, "\n", "\\n", 0);
        return g_string_free(g_steal_pointer(&text), FALSE);
}

static void assert_plan(Plan *plan, const char *steps, const char *undo) {
        g_autoptr(Plan) owned = plan;
        g_autofree char *found = text_of(plan->steps), *found_undo = text_of(plan->undo);

        cr_assert_str_eq(found, steps);
        cr_assert_str_eq(found_undo, undo);
}

Test(plan, unbind) {
        assert_plan(plan_unbind(get(PF)), "00.0/driver/unbind=00.0", "");
}

Test(plan, unbind_of_what_has_no_driver) {
        assert_plan(plan_unbind(get(VF1)), "", "");
}

Test(plan, bind_to_a_userspace_driver) {
        assert_plan(
                plan_bind(get(PF), "vfio-pci", true),
                "00.0/driver/unbind=00.0 00.0/driver_override=vfio-pci drivers/vfio-pci/bind=00.0",
                "00.0/driver_override=igb drivers/igb/bind=00.0 00.0/driver_override=\\n");
}

/* No override is left behind that would keep another driver away later. */
Test(plan, bind_to_a_driver_of_the_host) {
        assert_plan(plan_bind(get(VF0), "igbvf", false),
                    "10.0/driver/unbind=10.0 10.0/driver_override=igbvf drivers/igbvf/bind=10.0 "
                    "10.0/driver_override=\\n",
                    "10.0/driver_override=vfio-pci drivers/vfio-pci/bind=10.0 "
                    "10.0/driver_override=\\n");
}

Test(plan, bind_keeps_the_override_of_before_for_undoing) {
        Function *vf = get(VF0);

        g_ref_string_release(vf->facts.driver_override);
        vf->facts.driver_override = g_ref_string_new_intern("vfio-pci");
        assert_plan(plan_bind(vf, "", false),
                    "10.0/driver/unbind=10.0 10.0/driver_override=\\n drivers_probe=10.0",
                    "10.0/driver_override=vfio-pci drivers/vfio-pci/bind=10.0 "
                    "10.0/driver_override=vfio-pci");
}

Test(plan, bind_where_it_is_already) {
        assert_plan(plan_bind(get(PF), "igb", false), "", "");
}

Test(plan, bind_of_what_has_no_driver) {
        assert_plan(plan_bind(get(VF1), "vfio-pci", true),
                    "10.2/driver_override=vfio-pci drivers/vfio-pci/bind=10.2",
                    "10.2/driver_override=\\n 10.2/driver_override=\\n");
}

/* VFs one by one, then through 0. */
Test(plan, set_num_vfs) {
        assert_plan(plan_set_num_vfs(get(PF), 0),
                    "10.0/driver/unbind=10.0 00.0/sriov_numvfs=0!10.0/driver!10.2/driver",
                    "drivers_probe=10.0");
        assert_plan(plan_set_num_vfs(get(PF), 4),
                    "10.0/driver/unbind=10.0 00.0/sriov_numvfs=0!10.0/driver!10.2/driver "
                    "00.0/sriov_numvfs=4",
                    "drivers_probe=10.0");
        assert_plan(plan_set_num_vfs(get(PF), 2), "", "");
        apply(world, facts_driver(facts_pf(PF, NULL), "igb"));
        inventory_remove(world, get(VF0));
        inventory_remove(world, get(VF1));
        assert_plan(plan_set_num_vfs(get(PF), 8), "00.0/sriov_numvfs=8", "");
}

Test(plan, set_autoprobe) {
        assert_plan(plan_set_autoprobe(get(PF), true), "", "");
        assert_plan(plan_set_autoprobe(get(PF), false), "00.0/sriov_drivers_autoprobe=0", "");
        get(PF)->facts.drivers_autoprobe = false;
        assert_plan(plan_set_autoprobe(get(PF), true), "00.0/sriov_drivers_autoprobe=1", "");
}

Test(plan, reset) {
        assert_plan(plan_reset(get(VF0)), "10.0/reset=1", "");
}

Test(plan, release) {
        assert_plan(plan_release(get(VF0)), "10.0/driver/unbind=10.0", "");
        assert_plan(plan_release(get(VF1)), "", "");
        assert_plan(plan_release(get(PF)),
                    "10.0/driver/unbind=10.0 00.0/sriov_numvfs=0!10.0/driver!10.2/driver "
                    "00.0/driver/unbind=00.0",
                    "drivers_probe=10.0");
}

Test(plan, remove) {
        assert_plan(plan_remove(get(PF), NULL), "00.0/remove=1!00.0/driver", "");
        assert_plan(plan_remove(get(PF), "/sys/bus/pci/slots/1/power"),
                    "slots/1/power=0!00.0/driver", "");
}

Test(plan, names_of_drivers) {
        static const struct {
                const char *name;
                bool valid;
        } cases[] = {
                { "igb", true },     { "vfio-pci", true }, { "uio_pci_generic", true },
                { "8139too", true }, { "", false },        { ".", false },
                { "..", false },     { "a/b", false },     { "../igb", false },
                { "a b", false },    { "igb\n", false },   { "\xc3\xa9", false },
        };
        g_autofree char *longest = g_strnfill(63, 'x'), *longer = g_strnfill(64, 'x');

        for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
                cr_assert_eq(plan_driver_name_valid(cases[i].name), cases[i].valid, "%s",
                             cases[i].name);
        cr_assert(plan_driver_name_valid(longest));
        cr_assert_not(plan_driver_name_valid(longer));
}
