#include "policy/effect.h"
#include "tests/unit/facts.h"

#include <criterion/criterion.h>

/* Whom each operation disturbs. What it does on the way is pinned by the rules that ask:
 * test-check.c and test-lock.c. */
Test(effect, whom_it_disturbs) {
        static const struct {
                Operation operation;
                Effect expected; /* self, vfs, group, pasid, slot */
        } rows[] = {
                { OPERATION_SET_NUM_VFS, { false, true, false, false, false } },
                { OPERATION_SET_AUTOPROBE, { false, true, false, false, false } },
                { OPERATION_BIND, { true, true, true, true, false } },
                { OPERATION_UNBIND, { true, true, true, true, false } },
                { OPERATION_RESET, { true, true, false, true, false } },
                { OPERATION_REMOVE, { true, true, false, true, false } },
                { OPERATION_POWER_OFF, { true, true, false, true, true } },
                { OPERATION_DISABLE_PASID, { false, false, false, true, false } },
                { OPERATION_OPEN, { false, false, false, false, false } },
        };

        cr_assert_eq(G_N_ELEMENTS(rows), _OPERATION_MAX);
        for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
                const Effect *found = effect_of(rows[i].operation);
                const Effect *expected = &rows[i].expected;
                const char *word = operation_to_string(rows[i].operation);

                cr_assert_eq(found->self, expected->self, "%s", word);
                cr_assert_eq(found->vfs, expected->vfs, "%s", word);
                cr_assert_eq(found->group, expected->group, "%s", word);
                cr_assert_eq(found->pasid, expected->pasid, "%s", word);
                cr_assert_eq(found->slot, expected->slot, "%s", word);
        }
}

Test(effect, all_inhibitors_of_a_function_count) {
        g_autoptr(Inventory) inventory = inventory_new();
        Function *function = apply(inventory, facts_plain("0000:02:00.0"));
        Inhibitor one = { .operations = 1U << OPERATION_RESET };
        Inhibitor two = { .operations = 1U << OPERATION_OPEN };

        cr_assert_eq(effect_inhibited(function), 0);
        cr_assert_not(effect_is_inhibited(function, OPERATION_RESET));
        function->inhibitors = g_ptr_array_new();
        g_ptr_array_add(function->inhibitors, &one);
        g_ptr_array_add(function->inhibitors, &two);
        cr_assert_eq(effect_inhibited(function), 1U << OPERATION_RESET | 1U << OPERATION_OPEN);
        cr_assert(effect_is_inhibited(function, OPERATION_RESET));
        cr_assert(effect_is_inhibited(function, OPERATION_OPEN));
        cr_assert_not(effect_is_inhibited(function, OPERATION_UNBIND));
}
