#include "cli/suggest.h"

#include <criterion/criterion.h>
#include <glib.h>

static const char *const words[] = { "list",   "show",    "set-vfs", "set-autoprobe", "unplug",
                                     "unbind", "monitor", "lock",    "unlock",        NULL };

Test(suggest, distance) {
        static const struct {
                const char *a, *b;
                unsigned distance;
        } table[] = {
                { "", "", 0 },
                { "", "abc", 3 },
                { "abc", "", 3 },
                { "list", "list", 0 },
                { "list", "lists", 1 },
                { "list", "lst", 1 },
                { "list", "lisp", 1 },
                { "list", "lsit", 1 }, /* exchanged */
                { "kitten", "sitting", 3 },
                { "ca", "abc", 3 }, /* no character is moved twice */
                { "unbnid", "unbind", 1 },
                { "0000:01:00.0", "0000:01:00.1", 1 },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(table); i++) {
                cr_assert_eq(suggest_distance(table[i].a, table[i].b), table[i].distance, "%s, %s",
                             table[i].a, table[i].b);
                cr_assert_eq(suggest_distance(table[i].b, table[i].a), table[i].distance, "%s, %s",
                             table[i].b, table[i].a);
        }
}

Test(suggest, nearest) {
        static const struct {
                const char *text, *nearest;
        } table[] = {
                { "lsit", "list" },
                { "lst", "list" },
                { "unplgu", "unplug" },
                { "unbimd", "unbind" },
                { "sett-vfs", "set-vfs" },
                { "mon", "monitor" },
                { "auto", NULL },
                { "set", NULL }, /* two begin so */
                { "lock", "lock" },
                { "frobnicate", NULL },
                { "", NULL },
                { "x", NULL },
                { "set-auto-probe", "set-autoprobe" },
        };
        g_autofree char *huge = g_strnfill(1000, 'l');

        for (size_t i = 0; i < G_N_ELEMENTS(table); i++) {
                const char *nearest = suggest_nearest(table[i].text, words);

                cr_assert((table[i].nearest == NULL) == (nearest == NULL), "%s: %s", table[i].text,
                          nearest ? nearest : "(none)");
                if (nearest)
                        cr_assert_str_eq(nearest, table[i].nearest, "%s", table[i].text);
        }
        cr_assert_null(suggest_nearest(huge, words));
}
