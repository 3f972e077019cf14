#include "cli/vocabulary.h"

#include <criterion/criterion.h>
#include <glib.h>

Test(vocabulary, operations) {
        for (const char *const *operation = vocabulary_all; *operation; operation++)
                cr_assert_str_eq(vocabulary_operations(*operation), *operation);
        cr_assert_str_eq(vocabulary_operations("set-vfs"), "set-num-vfs");
        cr_assert_str_eq(vocabulary_operations("unplug"), "remove");
        cr_assert_str_eq(vocabulary_operations("list"), "");
        cr_assert_null(vocabulary_operations("frobnicate"));
        cr_assert_null(vocabulary_operations(""));
}

Test(vocabulary, translate) {
        static const struct {
                const char *what, *operations, *word;
        } table[] = {
                { "reset:bind", "reset:bind", NULL },
                { "set-vfs", "set-num-vfs", NULL },
                { "unplug:remove", "remove", NULL },
                { "lock", "set-num-vfs:set-autoprobe:reset:remove:power-off", NULL },
                { "reset:lock", "reset:set-num-vfs:set-autoprobe:remove:power-off", NULL },
                { "novel:reset", "novel:reset", NULL }, /* a later daemon may know it */
                { "", "", NULL },
                { "reset::bind", "reset::bind", NULL }, /* not for us to mend */
                { "reset:list", NULL, "list" },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(table); i++) {
                g_autofree char *word = NULL;
                g_autofree char *operations = vocabulary_translate(table[i].what, &word);

                cr_assert(g_strcmp0(operations, table[i].operations) == 0, "%s: %s", table[i].what,
                          operations ? operations : "NULL");
                cr_assert(g_strcmp0(word, table[i].word) == 0, "%s", table[i].what);
        }
}

Test(vocabulary, nearest) {
        cr_assert_str_eq(vocabulary_nearest("set-num-vf"), "set-num-vfs");
        cr_assert_str_eq(vocabulary_nearest("unplg"), "unplug");
        cr_assert_str_eq(vocabulary_nearest("rest"), "reset");
        cr_assert_null(vocabulary_nearest("frobnicate"));
}
