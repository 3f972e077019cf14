#include "policy/check.h"
#include "policy/lock.h"
#include "tests/unit/facts.h"

#include <criterion/criterion.h>
#include <stdio.h>

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

static Inventory *world;
static PatternList *drivers;

static void add(FunctionFacts facts, int32_t group, const char *driver) {
        facts = facts_driver(facts, driver);
        facts.iommu_group = group;
        apply(world, facts);
}

static void set_up(void) {
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

static void tear_down(void) {
        inventory_free(world);
        pattern_list_free(drivers);
}

TestSuite(check, .init = set_up, .fini = tear_down);

static Function *get(const char *address) {
        Function *function = inventory_get(world, key_of(address));

        cr_assert_not_null(function, "%s", address);
        return function;
}

static void use(const char *address) {
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

static void inhibit(const char *address, unsigned operations) {
        Function *function = get(address);

        backup.operations = operations;
        function->inhibitors = g_ptr_array_new();
        g_ptr_array_add(function->inhibitors, &backup);
}

static void lock(const char *address) {
        get(address)->lock_why = g_strdup("maintenance");
}

static void rebind(const char *address, const char *driver) {
        Function *function = get(address);

        g_ref_string_release(function->facts.driver);
        function->facts.driver = g_ref_string_new_intern(driver);
}

static const RunningOperation running = { .name = "unbind", .pid = 99 };

static void run(const char *address) {
        get(address)->operation = &running;
}

static void enable_pasid(const char *address) {
        get(address)->facts.pasid = (Pasid){ .present = true, .enabled = true, .width = 20 };
}

static Verdict *ask(const char *address, Operation operation, unsigned flags) {
        Function *function;

        inventory_foreach (world, function)
                function->lock_reasons = lock_reasons(function, drivers);
        return check(world, get(address), operation, flags);
}

/* "user 0000:01:10.0, lock 0000:01:00.0": the blockers in their order. */
static char *kinds_and_subjects(const Verdict *verdict) {
        g_autoptr(GString) text = g_string_new(NULL);

        for (guint i = 0; i < verdict->blockers->len; i++) {
                const Blocker *blocker = verdict->blockers->pdata[i];

                g_string_append_printf(text, "%s%s %s", i > 0 ? ", " : "",
                                       blocker_kind_to_string(blocker->kind), blocker->subject);
        }
        cr_assert_eq(verdict_allowed(verdict), text->len == 0);
        return g_string_free(g_steal_pointer(&text), FALSE);
}

static char *blockers(const char *address, Operation operation, unsigned flags) {
        g_autoptr(Verdict) verdict = ask(address, operation, flags);

        return kinds_and_subjects(verdict);
}

/* One row: what `asked` is answered for each operation, in the order of the enumeration. */
#define OPERATIONS _OPERATION_MAX
static void assert_row(const char *row, const char *asked, const char *const expected[OPERATIONS]) {
        for (Operation operation = 0; operation < OPERATIONS; operation++) {
                if (!operation_on_kind(operation, get(asked)->kind))
                        continue;
                g_autofree char *found = blockers(asked, operation, 0);

                cr_assert_str_eq(found, expected[operation], "%s, %s of %s: '%s', not '%s'", row,
                                 operation_to_string(operation), asked, found, expected[operation]);
        }
}

/* The columns: set-num-vfs, set-autoprobe, bind, unbind, reset, remove, power-off, disable-pasid,
 * open. */
#define ROW(asked, ...) assert_row(__func__, asked, (const char *const[OPERATIONS]){ __VA_ARGS__ })

Test(check, nothing_in_the_way) {
        ROW(PF, "", "", "", "", "", "", "", "", "driver " PF);
        ROW(VF0, "", "", "", "", "", "", "", "", "");
        ROW(OTHER, "", "", "", "", "", "", "", "", "");
        ROW(PEER, "", "", "", "", "", "", "", "", "driver " PF); /* its group has a host's driver */
}

Test(check, the_function_is_used) {
        use(OTHER);
        ROW(OTHER, "", "", "user " OTHER, "user " OTHER, "user " OTHER, "user " OTHER,
            "user " OTHER, "", "user " OTHER);
        ROW(PF, "", "", "", "", "", "", "", "", "driver " PF);
}

Test(check, a_vf_is_used) {
        use(VF0);
        ROW(PF, "user " VF0, "user " VF0, "user " VF0, "user " VF0, "user " VF0, "user " VF0,
            "user " VF0, "", "driver " PF);
        ROW(VF0, "", "", "user " VF0, "user " VF0, "user " VF0, "user " VF0, "user " VF0, "",
            "user " VF0);
        ROW(VF1, "", "", "", "", "", "", "user " VF0, "", ""); /* it has no slot but the PF's */
        ROW(MATE, "", "", "", "", "", "", "user " VF0, "", "driver " MATE);
        ROW(VPEER, "", "", "group " VF0, "group " VF0, "", "", "", "", "group " VF0);
}

Test(check, a_vf_cannot_be_read) {
        static const struct {
                Operation operation;
                bool blocked;
        } rows[] = {
                { OPERATION_SET_NUM_VFS, true }, { OPERATION_SET_AUTOPROBE, true },
                { OPERATION_UNBIND, true },      { OPERATION_RESET, true },
                { OPERATION_REMOVE, true },      { OPERATION_POWER_OFF, true },
        };

        get(PF)->unreadable_vfs = true;
        for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
                g_autoptr(Verdict) verdict = check(world, get(PF), rows[i].operation, 0);

                cr_assert_eq(verdict_allowed(verdict), !rows[i].blocked, "%s",
                             operation_to_string(rows[i].operation));
        }
}

Test(check, the_pf_is_used) {
        rebind(PF, "vfio-pci");
        use(PF);
        ROW(PF, "lock " PF, "lock " PF, "user " PF, "user " PF, "user " PF, "user " PF, "user " PF,
            "", "user " PF);
        ROW(PEER, "", "", "group " PF, "group " PF, "", "", "", "", "group " PF);
        ROW(MATE, "", "", "", "", "", "", "user " PF, "", "driver " MATE);
        ROW(VF0, "", "", "", "", "", "", "user " PF, "", "");
}

Test(check, a_userspace_driver_has_the_pf) {
        rebind(PF, "vfio-pci");
        ROW(PF, "lock " PF, "lock " PF, "", "", "", "", "", "", "");
        ROW(VF0, "", "", "", "", "", "", "", "", "");
        ROW(MATE, "", "", "", "", "", "", "", "", "driver " MATE);
}

Test(check, an_administrator_locked) {
        lock(PF);
        ROW(PF, "lock " PF, "lock " PF, "", "", "lock " PF, "lock " PF, "lock " PF, "",
            "driver " PF);
        ROW(VF0, "", "", "", "", "", "", "lock " PF, "", "");
        ROW(MATE, "", "", "", "", "", "", "lock " PF, "", "driver " MATE);
}

/* --- inhibitors: every operation against every inhibited one, from wherever the inhibitor may
 * be */

/* The operations, in words joined by ':', of which an inhibitor on `where` stands against `asked`
 * of `address`. */
static char *inhibiting(const char *address, Operation asked, const char *where) {
        unsigned found = 0;

        for (Operation inhibited = 0; inhibited < OPERATIONS; inhibited++) {
                inhibit(where, 1U << inhibited);
                g_autoptr(Verdict) verdict = ask(address, asked, 0);

                for (guint i = 0; i < verdict->blockers->len; i++)
                        if (((Blocker *) verdict->blockers->pdata[i])->kind == BLOCKER_INHIBITOR)
                                found |= 1U << inhibited;
                g_clear_pointer(&get(where)->inhibitors, g_ptr_array_unref);
        }
        return operations_format(found);
}

static void assert_inhibiting(const char *row, const char *address, const char *where,
                              const char *const expected[OPERATIONS]) {
        for (Operation asked = 0; asked < OPERATIONS; asked++) {
                g_autofree char *found = inhibiting(address, asked, where);

                cr_assert_str_eq(found, expected[asked], "%s, %s of %s, inhibitor on %s: '%s'", row,
                                 operation_to_string(asked), address, where, found);
        }
}

#define INHIBITED(address, where, ...) \
        assert_inhibiting(__func__, address, where, (const char *const[OPERATIONS]){ __VA_ARGS__ })
#define NOTHING "", "", "", "", "", "", "", "", ""

/* Its own. Columns as above. */
Test(check, inhibitors_of_the_function_itself) {
        INHIBITED(OTHER, OTHER, "set-num-vfs", "set-autoprobe", "bind:unbind", "unbind", "reset",
                  "unbind:remove", "unbind:remove:power-off", "disable-pasid", "open");
        INHIBITED(VF0, VF0, "set-num-vfs", "set-autoprobe", "bind:unbind", "unbind", "reset",
                  "unbind:remove", "unbind:remove:power-off", "disable-pasid", "open");
        /* with VFs to be taken along */
        INHIBITED(PF, PF, "set-num-vfs", "set-autoprobe", "set-num-vfs:bind:unbind",
                  "set-num-vfs:unbind", "reset", "set-num-vfs:unbind:remove",
                  "set-num-vfs:unbind:remove:power-off", "disable-pasid", "open");
        /* with PASID to be switched off, too */
        enable_pasid(PF);
        INHIBITED(PF, PF, "set-num-vfs", "set-autoprobe", "set-num-vfs:bind:unbind:disable-pasid",
                  "set-num-vfs:unbind:disable-pasid", "reset:disable-pasid",
                  "set-num-vfs:unbind:remove:disable-pasid",
                  "set-num-vfs:unbind:remove:power-off:disable-pasid", "disable-pasid", "open");
        get(PF)->facts.pasid = (Pasid){ .present = true };
        INHIBITED(PF, PF, "set-num-vfs", "set-autoprobe", "set-num-vfs:bind:unbind",
                  "set-num-vfs:unbind", "reset", "set-num-vfs:unbind:remove",
                  "set-num-vfs:unbind:remove:power-off", "disable-pasid", "open");
        get(PF)->facts.pasid = (Pasid){ .enabled = true };
        INHIBITED(PF, PF, "set-num-vfs", "set-autoprobe", "set-num-vfs:bind:unbind",
                  "set-num-vfs:unbind", "reset", "set-num-vfs:unbind:remove",
                  "set-num-vfs:unbind:remove:power-off", "disable-pasid", "open");
        /* without a driver to be unbound */
        rebind(OTHER, "");
        INHIBITED(OTHER, OTHER, "set-num-vfs", "set-autoprobe", "bind", "unbind", "reset",
                  "unbind:remove", "unbind:remove:power-off", "disable-pasid", "open");
}

/* A VF's, against what is asked of its PF. */
Test(check, inhibitors_of_a_vf) {
        INHIBITED(PF, VF0, "unbind:remove", "", "unbind:remove", "unbind:remove", "reset",
                  "unbind:remove", "unbind:remove:power-off", "", "");
        INHIBITED(PF, VF1, "unbind:remove", "", "unbind:remove", "unbind:remove", "reset",
                  "unbind:remove", "unbind:remove:power-off", "", "");
        enable_pasid(PF);
        INHIBITED(PF, VF0, "unbind:remove", "", "unbind:remove:disable-pasid",
                  "unbind:remove:disable-pasid", "reset:disable-pasid",
                  "unbind:remove:disable-pasid", "unbind:remove:power-off:disable-pasid",
                  "disable-pasid", "");
}

/* Only a slot's power reaches further: to all that is in the slot, with all its VFs. */
Test(check, inhibitors_elsewhere) {
        static const char *const apart[][2] = { { PF, PEER },   { PEER, PF },  { VF0, VPEER },
                                                { VPEER, VF0 }, { PF, OTHER }, { PF, VPEER },
                                                { OTHER, PF } };

        for (unsigned i = 0; i < G_N_ELEMENTS(apart); i++)
                INHIBITED(apart[i][0], apart[i][1], NOTHING);
        INHIBITED(VF0, PF, "", "", "", "", "", "", "set-num-vfs:unbind:remove:power-off", "", "");
        INHIBITED(VF0, VF1, "", "", "", "", "", "", "unbind:remove:power-off", "", "");
        INHIBITED(PF, MATE, "", "", "", "", "", "", "set-num-vfs:unbind:remove:power-off", "", "");
        INHIBITED(VF0, MATE, "", "", "", "", "", "", "set-num-vfs:unbind:remove:power-off", "", "");
        INHIBITED(PF, MATEVF, "", "", "", "", "", "", "unbind:remove:power-off", "", "");
        INHIBITED(MATE, VF0, "", "", "", "", "", "", "unbind:remove:power-off", "", "");
}

Test(check, words_of_inhibitors) {
        inhibit(VF0, 1U << OPERATION_REMOVE | 1U << OPERATION_UNBIND | 1U << OPERATION_RESET);
        g_autoptr(Verdict) of_pf = ask(PF, OPERATION_SET_NUM_VFS, 0);
        g_autoptr(Verdict) of_vf = ask(VF0, OPERATION_UNBIND, 0);
        g_autofree char *pf_text = verdict_text(of_pf), *vf_text = verdict_text(of_vf);

        cr_assert_str_eq(pf_text, "backup: inhibits unbind:remove of " VF0 ": copying");
        cr_assert_str_eq(vf_text, "backup: inhibits unbind: copying");
}

/* Unplug goes by `remove` or by the slot, and is free of both sorts of inhibitors, or is not
 * begun. */
Test(check, inhibitors_of_an_unplug) {
        static const struct {
                const char *asked, *where, *expected;
        } rows[] = {
                { OTHER, OTHER, "unbind:remove:power-off" },
                { PF, PF, "set-num-vfs:unbind:remove:power-off" },
                { PF, VF0, "unbind:remove:power-off" },
                { PF, MATE, "" },
                { PF, MATEVF, "" },
                { PF, PEER, "" },
                { VF0, VF0, "unbind:remove" }, /* it ends unbound */
                { VF0, PF, "" },
                { VF0, VF1, "" },
        };

        for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
                unsigned found = 0;

                for (Operation inhibited = 0; inhibited < OPERATIONS; inhibited++) {
                        inhibit(rows[i].where, 1U << inhibited);
                        g_autoptr(Verdict) verdict =
                                check_unplug(world, get(rows[i].asked), false, 0);

                        if (!verdict_allowed(verdict))
                                found |= 1U << inhibited;
                        g_clear_pointer(&get(rows[i].where)->inhibitors, g_ptr_array_unref);
                }
                g_autofree char *text = operations_format(found);
                cr_assert_str_eq(text, rows[i].expected, "row %u: %s", i, text);
        }
}

/* One that delays stands against the same operations, but is asked by an unplug that has time. */
Test(check, inhibitors_that_delay) {
        backup.mode = INHIBITOR_MODE_DELAY;
        inhibit(VF0, 1U << OPERATION_REMOVE | 1U << OPERATION_OPEN);
        for (Operation asked = 0; asked < OPERATIONS; asked++) {
                g_autoptr(Verdict) verdict = ask(VF0, asked, 0);
                bool delayed = asked == OPERATION_REMOVE || asked == OPERATION_POWER_OFF ||
                               asked == OPERATION_OPEN;

                cr_assert_eq(verdict->blockers->len, delayed, "%s", operation_to_string(asked));
                if (delayed)
                        cr_assert_eq(((Blocker *) verdict->blockers->pdata[0])->kind,
                                     BLOCKER_DELAY);
        }
        for (unsigned i = 0; i < 3; i++) {
                const char *asked = (const char *[]){ VF0, PF, VF1 }[i];
                g_autoptr(Verdict) later = check_unplug(world, get(asked), false, 0);
                g_autoptr(Verdict) now = check_unplug(world, get(asked), true, 0);
                bool delayed = get(asked) != get(VF1);

                cr_assert(verdict_allowed(later), "%s", asked);
                cr_assert_eq(verdict_allowed(now), !delayed, "%s", asked);
                cr_assert_eq(check_unplug_inhibitors(world, get(asked)), delayed, "%s", asked);
        }
}

/* Its users are asked to release it; users of something else are not. */
Test(check, users_and_locks_of_an_unplug) {
        static const struct {
                const char *used, *without, *with;
        } rows[] = {
                { OTHER, "", "" }, { PF, "", "user " PF }, { VF0, "", "user " VF0 ", pasid " VF0 },
                { PEER, "", "" },  { MATE, "", "" },
        };

        enable_pasid(PF);
        for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
                use(rows[i].used);
                for (unsigned too = 0; too < 2; too++) {
                        g_autoptr(Verdict) verdict = check_unplug(world, get(PF), too, 0);
                        g_autofree char *text = kinds_and_subjects(verdict);

                        cr_assert_str_eq(text, too ? rows[i].with : rows[i].without, "row %u: %s",
                                         i, text);
                }
                inventory_set_users(world, get(rows[i].used), NULL);
        }
        lock(PF);
        run(VF1);
        Function *function;
        inventory_foreach (world, function)
                function->lock_reasons = lock_reasons(function, drivers);
        g_autoptr(Verdict) verdict = check_unplug(world, get(PF), false, 0);
        g_autofree char *text = kinds_and_subjects(verdict);
        cr_assert_str_eq(text, "operation " VF1 ", lock " PF);
}

Test(check, pasid) {
        enable_pasid(PF);
        ROW(PF, "", "", "", "", "", "", "", "", "driver " PF);
        use(VF0);
        ROW(PF, "user " VF0, "user " VF0, "user " VF0 ", pasid " VF0, "user " VF0 ", pasid " VF0,
            "user " VF0 ", pasid " VF0, "user " VF0 ", pasid " VF0, "user " VF0 ", pasid " VF0,
            "pasid " VF0, "driver " PF);
        get(PF)->facts.pasid.enabled = false;
        ROW(PF, "user " VF0, "user " VF0, "user " VF0, "user " VF0, "user " VF0, "user " VF0,
            "user " VF0, "", "driver " PF);
}

Test(check, something_is_under_way) {
        static const char *const related[] = { PF, VF0, MATE, PEER };

        for (unsigned i = 0; i < 4; i++) {
                g_autofree char *expected = g_strconcat("operation ", related[i], NULL);

                run(related[i]);
                for (Operation operation = 0; operation < OPERATION_OPEN; operation++) {
                        g_autofree char *found = blockers(PF, operation, 0);

                        cr_assert_str_eq(found, expected);
                }
                get(related[i])->operation = NULL;
        }
        run(OTHER);
        ROW(PF, "", "", "", "", "", "", "", "", "driver " PF);
        get(OTHER)->operation = NULL;
        run(VF1);
        ROW(VF0, "", "", "", "", "", "", "operation " VF1, "", "");
        get(VF1)->operation = NULL;
        run(PF);
        ROW(VF0, "", "", "operation " PF, "operation " PF, "operation " PF, "operation " PF,
            "operation " PF, "operation " PF, "operation " PF);
}

/* An override passes two reasons, and nothing else. */
Test(check, override) {
        static const struct {
                Operation operation;
                const char *expected;
        } rows[] = {
                { OPERATION_SET_NUM_VFS, "user " VF0 ", inhibitor backup" },
                { OPERATION_SET_AUTOPROBE, "user " VF0 },
                { OPERATION_RESET, "user " VF0 },
        };

        rebind(PF, "vfio-pci");
        lock(PF);
        for (unsigned i = 0; i < 3; i++) {
                g_autofree char *without = blockers(PF, rows[i].operation, 0);
                g_autofree char *with = blockers(PF, rows[i].operation, CHECK_OVERRIDE);

                cr_assert(g_str_has_prefix(without, "lock " PF), "%s", without);
                cr_assert_str_eq(with, "");
        }
        use(VF0);
        inhibit(VF0, 1U << OPERATION_REMOVE);
        for (unsigned i = 0; i < 3; i++) {
                g_autofree char *with = blockers(PF, rows[i].operation, CHECK_OVERRIDE);

                cr_assert_str_eq(with, rows[i].expected);
        }
}

Test(check, open) {
        static const struct {
                FunctionState state;
                const char *expected;
        } states[] = {
                { FUNCTION_STATE_PRESENT, "" },
                { FUNCTION_STATE_UNPLUG_REQUESTED, "operation " OTHER },
                { FUNCTION_STATE_DRAINING, "operation " OTHER },
                { FUNCTION_STATE_REMOVING, "operation " OTHER },
        };

        for (unsigned i = 0; i < 4; i++) {
                get(OTHER)->state = states[i].state;
                g_autofree char *found = blockers(OTHER, OPERATION_OPEN, 0);
                cr_assert_str_eq(found, states[i].expected);
        }
        get(OTHER)->state = FUNCTION_STATE_PRESENT;

        rebind(OTHER, "");
        g_autofree char *unbound = blockers(OTHER, OPERATION_OPEN, 0);
        cr_assert_str_eq(unbound, "driver " OTHER);

        /* A bridge in the group does not matter, nor does a peer without a driver. */
        rebind(PF, "pcieport");
        get(PF)->facts.class_code = 0x060400;
        g_autofree char *bridge = blockers(PEER, OPERATION_OPEN, 0);
        cr_assert_str_eq(bridge, "");
        get(PF)->facts.class_code = 0x020000;
        rebind(PF, "");
        g_autofree char *driverless = blockers(PEER, OPERATION_OPEN, 0);
        cr_assert_str_eq(driverless, "");
}

/* What people read: who, and why. */
Test(check, words) {
        use(VF0);
        lock(PF);
        inhibit(PF, 1U << OPERATION_RESET);
        g_autoptr(Verdict) verdict = ask(PF, OPERATION_RESET, 0);
        g_autofree char *text = verdict_text(verdict);

        cr_assert_str_eq(text,
                         PF ": locked by an administrator: maintenance; " VF0
                            ": is a VF of it and in use by qemu (pid 4711, virtual machine web); "
                            "backup: inhibits reset: copying");
        cr_assert_eq(((Blocker *) verdict->blockers->pdata[1])->pid, 4711);
        cr_assert_eq(((Blocker *) verdict->blockers->pdata[2])->pid, 12);
}

Test(check, warnings) {
        static const struct {
                Operation operation;
                bool warns;
        } rows[] = {
                { OPERATION_SET_NUM_VFS, true }, { OPERATION_SET_AUTOPROBE, false },
                { OPERATION_BIND, true },        { OPERATION_UNBIND, true },
                { OPERATION_RESET, true },       { OPERATION_REMOVE, true },
                { OPERATION_POWER_OFF, true },   { OPERATION_DISABLE_PASID, false },
                { OPERATION_OPEN, true },
        };

        for (unsigned i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
                g_autoptr(Verdict) of_pf = ask(PF, rows[i].operation, 0);
                g_autoptr(Verdict) of_vf = ask(OTHER, rows[i].operation, 0);

                cr_assert_eq(of_pf->warnings->len, rows[i].warns ? 1 : 0, "row %u", i);
                if (rows[i].warns)
                        cr_assert(strstr(of_pf->warnings->pdata[0], "2 virtual functions"));
                cr_assert_eq(of_vf->warnings->len, 0);
        }
}

Test(check, related) {
        const struct {
                const char *asked;
                const char *const *related;
        } rows[] = {
                { PF, VFS(PF, VF0, VF1, PEER, MATE) },
                { VF0, VFS(VF0, PF, VPEER) },
                { MATE, VFS(MATE, MATEVF, PF) },
                { OTHER, VFS(OTHER) },
        };

        for (unsigned i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
                g_autoptr(GPtrArray) related = check_related(world, get(rows[i].asked));
                unsigned n = 0;

                for (; rows[i].related[n]; n++)
                        cr_assert(g_ptr_array_find(related, get(rows[i].related[n]), NULL),
                                  "%s, %s", rows[i].asked, rows[i].related[n]);
                cr_assert_eq(related->len, n, "%s: %u", rows[i].asked, related->len);
        }
}

/* Of sessions one with a client and one for a single request stand in the way; an idle process
 * after that does not. */
Test(check, sessions) {
        static const struct {
                IoSession session;
                bool blocks;
        } rows[] = {
                { { .ready = true }, true },
                { { .ready = true, .single = true }, true },
                { { .ready = true, .single = true, .idle = true }, false },
        };
        static const Operation operations[] = { OPERATION_OPEN, OPERATION_UNBIND, OPERATION_RESET };

        for (unsigned i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
                use_by_session(world, get(OTHER), &rows[i].session);
                for (unsigned j = 0; j < sizeof(operations) / sizeof(*operations); j++) {
                        g_autoptr(Verdict) verdict = ask(OTHER, operations[j], 0);

                        cr_assert_eq(verdict_allowed(verdict), !rows[i].blocks, "row %u, %s", i,
                                     operation_to_string(operations[j]));
                        if (rows[i].blocks)
                                cr_assert_eq(((const Blocker *) verdict->blockers->pdata[0])->kind,
                                             BLOCKER_SESSION);
                }
                use_by_session(world, get(VF0), &rows[i].session);
                g_autoptr(Verdict) verdict = ask(PF, OPERATION_SET_NUM_VFS, 0);

                cr_assert_eq(verdict_allowed(verdict), !rows[i].blocks, "row %u, of the VF", i);
        }
}
