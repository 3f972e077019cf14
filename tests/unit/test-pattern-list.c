#include "policy/pattern-list.h"

#include <criterion/criterion.h>
#include <errno.h>

Test(pattern_list, matches) {
        g_autoptr(PatternList) list = NULL;
        static const struct {
                const char *name;
                bool matches;
        } cases[] = {
                { "vfio-pci", true }, { "mlx5-vfio-pci", true }, { "-vfio-pci", true },
                { "vfio-pc", false }, { "vfio-pci2", false },    { "xvfio-pci", false },
                { "igb_uio", true },  { "igb_uiox", false },     { "igb", false },
                { "", false },        { "uio3", true },          { "uio33", false },
        };

        cr_assert_eq(pattern_list_parse(" vfio-pci\t*-vfio-pci  igb_uio uio? ", &list, NULL), 0);
        for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
                cr_assert_eq(pattern_list_matches(list, cases[i].name), cases[i].matches, "%s",
                             cases[i].name);
}

Test(pattern_list, empty_matches_nothing) {
        g_autoptr(PatternList) list = NULL;

        cr_assert_eq(pattern_list_parse("  ", &list, NULL), 0);
        cr_assert_not(pattern_list_matches(list, ""));
        cr_assert_not(pattern_list_matches(list, "vfio-pci"));
}

Test(pattern_list, names_the_wrong_word) {
        static const char *const wrong[] = { "a/b", "vfio,pci", "\"vfio\"", "vf\x01" };

        for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
                g_autofree char *words = g_strconcat("good ", wrong[i], " good", NULL);
                g_autofree char *word = NULL;
                PatternList *list = NULL;

                cr_assert_eq(pattern_list_parse(words, &list, &word), -EINVAL);
                cr_assert_str_eq(word, wrong[i]);
                cr_assert_null(list);
        }
}

Test(pattern_list, bounds) {
        g_autoptr(GString) words = g_string_new(NULL);
        g_autoptr(PatternList) list = NULL;
        PatternList *none = NULL;
        g_autofree char *longest = g_strnfill(PATTERN_LENGTH_MAX, 'x');
        g_autofree char *longer = g_strnfill(PATTERN_LENGTH_MAX + 1, 'x');

        for (unsigned i = 0; i < PATTERN_LIST_MAX - 1; i++)
                g_string_append_printf(words, "d%u ", i);
        g_string_append(words, longest);
        cr_assert_eq(pattern_list_parse(words->str, &list, NULL), 0);
        cr_assert(pattern_list_matches(list, longest));
        g_string_append(words, " one-more");
        cr_assert_eq(pattern_list_parse(words->str, &none, NULL), -E2BIG);
        cr_assert_eq(pattern_list_parse(longer, &none, NULL), -EINVAL);
}
