#include "tests/unit/check-world.h"

TestSuite(check, .init = set_up, .fini = tear_down);

static char *blockers(const char *address, Operation operation, unsigned flags) {
        g_autoptr(Verdict) verdict = ask(address, operation, flags);

        return kinds_and_subjects(verdict);
}

/* One row: what `asked` is answered for each operation, in the order of the enumeration. */
static void assert_row(const char *row, const char *asked, const char *const expected[OPERATIONS]) {
        for (Operation operation = 0; operation < OPERATIONS; operation++) {
                if (!operation_on_kind(operation, get(asked)->kind))
                        continue;
                g_autofree char *found = blockers(asked, operation, 0);

                cr_assert_str_eq(found, expected[operation], "%s, %s of %s: '%s', not '%s'", row,
                                 operation_to_string(operation), asked, found, expected[operation]);
        }
}

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
                g_autofree char *found = blockers(PF, rows[i].operation, 0);

                cr_assert_str_eq(found, rows[i].blocked ? "unreadable " PF : "", "%s",
                                 operation_to_string(rows[i].operation));
        }
}

/* Nobody knows whom to ask, and no plan unbinds that VF: the kernel would wait for its user under
 * the lock of all hot-plug. */
Test(check, an_unplug_while_a_vf_cannot_be_read) {
        use(VF1);
        get(PF)->unreadable_vfs = true;
        for (unsigned users_too = 0; users_too < 2; users_too++) {
                g_autoptr(Verdict) verdict = check_unplug(world, get(PF), users_too, 0);
                g_autofree char *found = kinds_and_subjects(verdict);

                cr_assert_str_eq(found,
                                 users_too ? "user " VF1 ", unreadable " PF : "unreadable " PF);
        }
        cr_assert_eq(check_unplug_others(world, get(PF), 0), 1);
        cr_assert(check_unplug_unreadable(get(PF)));
        get(PF)->unreadable_vfs = false;
        cr_assert_eq(check_unplug_others(world, get(PF), 0), 0);
        cr_assert_not(check_unplug_unreadable(get(PF)));
}

/* While it is being taken away, nobody is to begin with it or with a VF of it. */
Test(check, a_function_is_leaving) {
        for (FunctionState state = FUNCTION_STATE_UNPLUG_REQUESTED; state < _FUNCTION_STATE_MAX;
             state++) {
                get(PF)->state = state;
                ROW(PF, "", "", "operation " PF, "", "", "", "", "",
                    "operation " PF ", driver " PF);
                ROW(VF0, "", "", "operation " PF, "", "", "", "", "", "operation " PF);
                ROW(MATE, "", "", "", "", "", "", "", "", "driver " MATE);
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

/* A VF goes with its PF, and is reset with it. */
Test(check, an_administrator_locked_a_vf) {
        lock(VF0);
        ROW(PF, "lock " VF0, "", "lock " VF0, "lock " VF0, "lock " VF0, "lock " VF0, "lock " VF0,
            "", "driver " PF);
        ROW(VF0, "", "", "", "", "lock " VF0, "lock " VF0, "lock " VF0, "", "");
        ROW(VF1, "", "", "", "", "", "", "lock " VF0, "", "");
        ROW(MATE, "", "", "", "", "", "", "lock " VF0, "", "driver " MATE);
        g_autofree char *overridden = blockers(PF, OPERATION_SET_NUM_VFS, CHECK_OVERRIDE);
        g_autoptr(Verdict) unplug = check_unplug(world, get(PF), false, 0);
        g_autofree char *found = kinds_and_subjects(unplug);
        cr_assert_str_eq(overridden, "");
        cr_assert_str_eq(found, "lock " VF0);
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

/* The kernel of s390 gives no override to VFs of a PF on vfio-pci. */
Test(check, vfs_without_an_override) {
        Function *pf = get(PF);

        for (unsigned i = 0; i < 4; i++) {
                g_autoptr(Verdict) verdict = NULL;

                pf->facts.s390 = i & 1;
                g_ref_string_release(pf->facts.driver);
                pf->facts.driver = g_ref_string_new_intern(i & 2 ? "vfio-pci" : "igb");
                verdict = ask(PF, OPERATION_SET_NUM_VFS, CHECK_OVERRIDE);
                cr_assert_eq(verdict->warnings->len, i == 3 ? 2 : 1, "%u", i);
        }
}
