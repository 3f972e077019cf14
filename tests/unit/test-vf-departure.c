#include "policy/vf-departure.h"

#include "policy/lock.h"
#include "tests/unit/facts.h"

#include <criterion/criterion.h>

#define PF  "0001:00:00.0"
#define VF0 "0001:00:00.1"
#define VF1 "0001:00:00.2"

static Inventory *world;

static void set_up(void) {
        FunctionFacts pf = facts_pf(PF, VFS(VF0, VF1));

        world = inventory_new();
        apply(world, facts_vf(VF0, PF));
        apply(world, facts_vf(VF1, PF));
        pf.s390 = true;
        apply(world, pf);
}

static void tear_down(void) {
        inventory_free(world);
}

TestSuite(vf_departure, .init = set_up, .fini = tear_down);

static Function *get(const char *address) {
        return inventory_get(world, key_of(address));
}

static const RunningOperation ours = { .name = "power-off" };

static void operate(const char *address, bool s390) {
        get(address)->facts.s390 = s390;
        get(address)->operation = &ours;
}

static void leave(const char *address) {
        vf_departure_note(get(address));
        inventory_remove(world, get(address));
}

Test(vf_departure, nobody_who_may) {
        leave(VF0);
        cr_assert_not(vf_departures_explain(get(PF), 2, 1), "not of s390");
        cr_assert_not(vf_departures_explain(get(PF), 2, 3), "new ones");
}

Test(vf_departure, by_us) {
        operate(VF0, true);
        leave(VF0);
        cr_assert_not(vf_departures_explain(get(PF), 2, 0), "two went");
        cr_assert_not(vf_departures_explain(get(PF), 2, 1), "it explains one reading");
}

Test(vf_departure, by_us_and_gone) {
        operate(VF0, true);
        leave(VF0);
        cr_assert(vf_departures_explain(get(PF), 2, 1));
}

/* Where VFs have no slots, our unbind of one is no reason for it to go. */
Test(vf_departure, while_we_do_something_else) {
        operate(VF0, false);
        leave(VF0);
        cr_assert_not(vf_departures_explain(get(PF), 2, 1));
}

/* The kernel takes its links first, and waits for its user then. */
Test(vf_departure, by_us_and_still_there) {
        FunctionFacts pf = facts_pf(PF, VFS(VF0));

        apply(world, pf);
        operate(VF1, true);
        cr_assert(vf_departures_explain(get(PF), 2, 1));
        get(VF1)->operation = NULL;
        cr_assert_not(vf_departures_explain(get(PF), 2, 1));
}

Test(vf_departure, by_its_own_slot) {
        get(VF0)->facts.s390 = get(VF1)->facts.s390 = true;
        leave(VF0);
        cr_assert(vf_departures_explain(get(PF), 2, 1));
        leave(VF1);
        cr_assert_not(vf_departures_explain(get(PF), 2, 0), "a write takes all");
}

Test(vf_departure, by_its_locked_slot) {
        get(VF0)->facts.s390 = true;
        get(VF0)->lock_files = 1U << LOCK_FILE_SLOT_POWER;
        leave(VF0);
        cr_assert_not(vf_departures_explain(get(PF), 2, 1));
}
