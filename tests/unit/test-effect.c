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

/* "set-num-vfs, unbind"; "-" for none. */
static char *join_operations(unsigned operations) {
        g_autoptr(GPtrArray) words = g_ptr_array_new();

        for (Operation i = 0; i < _OPERATION_MAX; i++)
                if (operations & 1U << i)
                        g_ptr_array_add(words, (char *) operation_to_string(i));
        g_ptr_array_add(words, NULL);
        return words->len == 1 ? g_strdup("-") : g_strjoinv(", ", (char **) words->pdata);
}

/* The table in the documentation of Inhibit() is this one. */
Test(effect, the_documentation_has_the_steps) {
        g_autofree char *path =
                g_build_filename(g_getenv("VFWARDEN_DBUS_XML"), "org.vfwarden1.Manager.xml", NULL);
        g_autofree char *text = NULL;
        g_autoptr(Inventory) inventory = inventory_new();
        Function *pf = apply(inventory,
                             facts_driver(facts_pf("0000:01:00.0", VFS("0000:01:10.0")), "igb"));

        cr_assert(g_file_get_contents(path, &text, NULL, NULL));
        /* A function to which every step applies. */
        pf->facts.pasid = (Pasid){ .present = true, .enabled = true };
        for (Operation i = 0; i < _OPERATION_MAX; i++) {
                const Effect *effect = effect_of(i);
                g_autofree char *own = join_operations(effect_on_function(pf, i));
                g_autofree char *vfs = join_operations(effect_on_vfs(pf, i));
                g_autofree char *row = g_strdup_printf(
                        "| %s | %s | %s | %s |\n", operation_to_string(i), own, vfs,
                        effect->below ? operation_to_string(effect->to_below) : "-");

                cr_expect(strstr(text, row), "%s", row);
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
