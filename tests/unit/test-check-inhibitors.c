/* The inhibitors that check() and check_unplug() find: every operation against every inhibited one,
 * from wherever the inhibitor may be. */
#include "tests/unit/check-world.h"

TestSuite(check_inhibitors, .init = set_up, .fini = tear_down);

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

/* Its own. */
Test(check_inhibitors, inhibitors_of_the_function_itself) {
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
Test(check_inhibitors, inhibitors_of_a_vf) {
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

/* A slot's power reaches further: to all that is in the slot, with all its VFs. An open reaches all
 * of the group. */
Test(check_inhibitors, inhibitors_elsewhere) {
        static const char *const apart[][2] = {
                { PF, OTHER }, { PF, VPEER }, { OTHER, PF }, { VF0, OTHER }
        };
        static const char *const groups[][2] = {
                { PF, PEER }, { PEER, PF }, { VF0, VPEER }, { VPEER, VF0 }
        };

        for (unsigned i = 0; i < G_N_ELEMENTS(apart); i++)
                INHIBITED(apart[i][0], apart[i][1], NOTHING);
        for (unsigned i = 0; i < G_N_ELEMENTS(groups); i++)
                INHIBITED(groups[i][0], groups[i][1], "", "", "", "", "", "", "", "", "open");
        INHIBITED(VF0, PF, "", "", "", "", "", "", "set-num-vfs:unbind:remove:power-off", "", "");
        INHIBITED(VF0, VF1, "", "", "", "", "", "", "unbind:remove:power-off", "", "");
        INHIBITED(PF, MATE, "", "", "", "", "", "", "set-num-vfs:unbind:remove:power-off", "", "");
        INHIBITED(VF0, MATE, "", "", "", "", "", "", "set-num-vfs:unbind:remove:power-off", "", "");
        INHIBITED(PF, MATEVF, "", "", "", "", "", "", "unbind:remove:power-off", "", "");
        INHIBITED(MATE, VF0, "", "", "", "", "", "", "unbind:remove:power-off", "", "");
}

Test(check_inhibitors, words_of_inhibitors) {
        inhibit(VF0, 1U << OPERATION_REMOVE | 1U << OPERATION_UNBIND | 1U << OPERATION_RESET);
        g_autoptr(Verdict) of_pf = ask(PF, OPERATION_SET_NUM_VFS, 0);
        g_autoptr(Verdict) of_vf = ask(VF0, OPERATION_UNBIND, 0);
        g_autofree char *pf_text = verdict_text(of_pf), *vf_text = verdict_text(of_vf);

        cr_assert_str_eq(pf_text, "backup: inhibits unbind:remove of " VF0 ": copying");
        cr_assert_str_eq(vf_text, "backup: inhibits unbind: copying");
}

/* Unplug goes by `remove` or by the slot, and is free of both sorts of inhibitors, or is not
 * begun. */
Test(check_inhibitors, inhibitors_of_an_unplug) {
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
Test(check_inhibitors, inhibitors_that_delay) {
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
                cr_assert_eq(check_unplug_others(world, get(asked), 0), delayed, "%s", asked);
        }
}

/* Its users are asked to release it; users of something else are not. */
Test(check_inhibitors, users_and_locks_of_an_unplug) {
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
