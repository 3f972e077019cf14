#include "policy/client-text.h"

#include <criterion/criterion.h>
#include <glib.h>

Test(client_text, valid) {
        static const struct {
                const char *text;
                bool valid, with_lines;
        } rows[] = {
                { "", true, true },
                { "maintenance until noon", true, true },
                { "\xc3\xa4\xe2\x82\xac\xf0\x9f\x94\x92", true, true },
                { "two\nlines\tand a tab", false, true },
                { "a\rreturn", false, false },
                { "an \x1b[2J escape", false, false },
                { "\x7f", false, false },
                { "\x02private\x03", false, false },
                { "C1 \xc2\x9b", false, false },
                { "a line\xe2\x80\xa8separator", false, false },
                { "turned \xe2\x80\xae round", false, false },
                { "isolated \xe2\x81\xa6", false, false },
                { "noncharacter \xef\xbf\xbe", false, false },     /* U+FFFE */
                { "noncharacter \xef\xb7\x90", false, false },     /* U+FDD0 */
                { "noncharacter \xf4\x8f\xbf\xbf", false, false }, /* U+10FFFF */
                { "replacement \xef\xbf\xbd", true, true },
                { "not UTF-8 \xff", false, false },
                { "cut UTF-8 \xc3", false, false },
                { "a surrogate \xed\xa0\x80", false, false },
        };

        for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
                cr_assert_eq(client_text_valid(rows[i].text, 64, false), rows[i].valid, "row %zu",
                             i);
                cr_assert_eq(client_text_valid(rows[i].text, 64, true), rows[i].with_lines,
                             "row %zu", i);
        }
}

/* In bytes, not in characters. */
Test(client_text, length) {
        cr_assert(client_text_valid("12345", 5, false));
        cr_assert(!client_text_valid("123456", 5, false));
        cr_assert(client_text_valid("\xc3\xa4\xc3\xa4", 4, false));
        cr_assert(!client_text_valid("\xc3\xa4\xc3\xa4", 3, false));
        cr_assert(client_text_valid("", 0, false));
}

Test(client_text, flatten) {
        g_autofree char *text = g_strdup("a\nb\x1b[m \xc2\x9b\xc3\xa4 \xe2\x80\xae.");

        client_text_flatten(text);
        cr_assert_str_eq(text, "a b [m   \xc3\xa4    .");
}

/* What it makes is valid, whatever it is made of. */
Test(client_text, make_valid) {
        static const struct {
                const char *text;
                ptrdiff_t length;
                const char *valid;
        } rows[] = {
                { "plain", -1, "plain" },
                { "plain", 3, "pla" },
                { "\xef\xbf\xbe|", -1, "   |" },
                { "\xf0\x9f\xbf\xbf|", -1, "    |" },
                { "\xff|\n", -1, "\xef\xbf\xbd| " },
                { "\xc3\xa4", 1, "\xef\xbf\xbd" },
        };

        for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
                g_autofree char *text = client_text_make_valid(rows[i].text, rows[i].length);

                cr_assert_str_eq(text, rows[i].valid, "row %zu: %s", i, text);
                cr_assert(client_text_valid(text, 64, false), "row %zu", i);
        }
}

Test(client_text, cut) {
        static const struct {
                const char *text;
                size_t max;
                const char *cut;
        } rows[] = {
                { "", 3, "" },
                { "abc", 3, "abc" },
                { "abcd", 3, "..." },
                { "abcdefgh", 7, "abcd..." },
                { "abc\xc3\xa4"
                  "fgh",
                  7, "abc..." },
                { "ab\xc3\xa4"
                  "efgh",
                  7, "ab\xc3\xa4..." },
                { "\xf0\x9f\x94\x92\xf0\x9f\x94\x92", 5, "..." },
        };

        for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
                g_autofree char *text = g_strdup(rows[i].text);

                client_text_cut(text, rows[i].max);
                cr_assert_str_eq(text, rows[i].cut, "row %zu: %s", i, text);
        }
}

Test(client_text, fit) {
        g_autofree char *text = client_text_fit("a\tb\xff|cdefgh", 9);

        cr_assert_str_eq(text, "a b\xef\xbf\xbd...", "%s", text);
}
