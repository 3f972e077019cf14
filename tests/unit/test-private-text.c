#include "policy/private-text.h"

#include <criterion/criterion.h>
#include <glib.h>

Test(private_text, is_shown_or_left_out) {
        static const struct {
                const char *text, *shown, *hidden;
        } rows[] = {
                { "", "", "" },
                { "nothing private", "nothing private", "nothing private" },
                { "in use by " PRIVATE_TEXT("qemu -name web") " (pid 7)",
                  "in use by qemu -name web (pid 7)", "in use by a process (pid 7)" },
                { PRIVATE_TEXT("a") ", " PRIVATE_TEXT("b"), "a, b", "a process, a process" },
                { PRIVATE_TEXT(""), "", "a process" },
                /* What was cut, or put together wrongly, shows no more than it should. */
                { "by \x02qemu", "by qemu", "by a process" },
                { "by \x02qemu\x02 -name", "by qemu -name", "by a process" },
                { "by \x03qemu", "by qemu", "by qemu" },
        };

        for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
                g_autofree char *shown = private_text_for(rows[i].text, true);
                g_autofree char *hidden = private_text_for(rows[i].text, false);

                cr_assert_str_eq(shown, rows[i].shown);
                cr_assert_str_eq(hidden, rows[i].hidden);
                /* The mark of an end that hides nothing is no reason to ask who reads. */
                cr_assert_eq(private_text_is_public(rows[i].text),
                             g_str_equal(rows[i].shown, rows[i].hidden));
        }
}
