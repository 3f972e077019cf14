/* check-world.h: the functions that the tests of check() ask about, and what can happen to them. */
#pragma once

#include "policy/check.h"
#include "policy/lock.h"
#include "tests/unit/facts.h"

#include <criterion/criterion.h>

/* The world of the tables: a PF with two VFs; MATE is another function of its device (and slot),
 * with a VF of its own; PEER shares the IOMMU group of the PF, VPEER that of the first VF; OTHER
 * has nothing to do with any of them. */
#define PF     "0000:01:00.0"
#define VF0    "0000:01:10.0"
#define VF1    "0000:01:10.2"
#define MATE   "0000:01:00.1"
#define MATEVF "0000:01:10.1"
#define PEER   "0000:02:00.0"
#define VPEER  "0000:03:00.0"
#define OTHER  "0000:04:00.0"

/* The columns of a row: set-num-vfs, set-autoprobe, bind, unbind, reset, remove, power-off,
 * disable-pasid, open. */
#define OPERATIONS _OPERATION_MAX

static Inventory *world;
static PatternList *drivers;

static inline void add(FunctionFacts facts, int32_t group, const char *driver) {
        facts = facts_driver(facts, driver);
        facts.iommu_group = group;
        apply(world, facts);
}

static inline void set_up(void) {
        world = inventory_new();
        cr_assert_eq(pattern_list_parse("vfio-pci", &drivers, NULL), 0);
        add(facts_pf(PF, VFS(VF0, VF1)), 1, "igb");
        add(facts_vf(VF0, PF), 2, "vfio-pci");
        add(facts_vf(VF1, PF), 3, "vfio-pci");
        add(facts_pf(MATE, VFS(MATEVF)), 4, "igb");
        add(facts_vf(MATEVF, MATE), 5, "vfio-pci");
        add(facts_plain(PEER), 1, "vfio-pci");
        add(facts_plain(VPEER), 2, "vfio-pci");
        add(facts_plain(OTHER), 6, "vfio-pci");
}

static inline void tear_down(void) {
        inventory_free(world);
        pattern_list_free(drivers);
}

static inline Function *get(const char *address) {
        Function *function = inventory_get(world, key_of(address));

        cr_assert_not_null(function, "%s", address);
        return function;
}

static inline void use(const char *address) {
        GPtrArray *users = user_list_new();
        User user = { .pid = 4711,
                      .uid = 64055,
                      .command = (char *) "qemu",
                      .unit = (char *) "",
                      .machine = (char *) "web" };

        g_ptr_array_add(users, user_copy(&user));
        inventory_set_users(world, get(address), users);
}

static Inhibitor backup = { .who = (char *) "backup", .why = (char *) "copying", .pid = 12 };

static inline void inhibit(const char *address, unsigned operations) {
        Function *function = get(address);

        backup.operations = operations;
        function->inhibitors = g_ptr_array_new();
        g_ptr_array_add(function->inhibitors, &backup);
}

static inline void lock(const char *address) {
        get(address)->lock_why = g_strdup("maintenance");
}

static inline void rebind(const char *address, const char *driver) {
        Function *function = get(address);

        g_ref_string_release(function->facts.driver);
        function->facts.driver = g_ref_string_new_intern(driver);
}

static const RunningOperation running = { .name = "unbind", .pid = 99 };

static inline void run(const char *address) {
        get(address)->operation = &running;
}

static inline void enable_pasid(const char *address) {
        get(address)->facts.pasid = (Pasid){ .present = true, .enabled = true, .width = 20 };
}

static inline Verdict *ask(const char *address, Operation operation, unsigned flags) {
        Function *function;

        inventory_foreach (world, function)
                function->lock_reasons = lock_reasons(function, drivers);
        return check(world, get(address), operation, flags);
}

/* "user 0000:01:10.0, lock 0000:01:00.0": the blockers in their order. */
static inline char *kinds_and_subjects(const Verdict *verdict) {
        g_autoptr(GString) text = g_string_new(NULL);

        for (guint i = 0; i < verdict->blockers->len; i++) {
                const Blocker *blocker = verdict->blockers->pdata[i];

                g_string_append_printf(text, "%s%s %s", i > 0 ? ", " : "",
                                       blocker_kind_to_string(blocker->kind), blocker->subject);
        }
        cr_assert_eq(verdict_allowed(verdict), text->len == 0);
        return g_string_free(g_steal_pointer(&text), FALSE);
}
