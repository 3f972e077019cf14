#include "policy/verdict.h"

#include <criterion/criterion.h>
#include <string.h>

/* The file of a folder that an environment variable names, with each run of blanks as one. */
static char *read_words(const char *variable, const char *file) {
        g_autofree char *path = g_build_filename(g_getenv(variable), file, NULL), *text = NULL;
        g_autoptr(GString) words = g_string_new(NULL);

        cr_assert(g_file_get_contents(path, &text, NULL, NULL), "%s", path);
        for (const char *p = text; *p; p++) {
                bool blank = g_ascii_isspace(*p);

                if (!blank || (words->len > 0 && words->str[words->len - 1] != ' '))
                        g_string_append_c(words, blank ? ' ' : *p);
        }
        return g_string_free(g_steal_pointer(&words), FALSE);
}

/* The documentation has each kind's word and text, as the table has them. */
Test(verdict, each_kind_is_documented) {
        g_autofree char *xml = read_words("VFWARDEN_DBUS_XML", "org.vfwarden1.Manager.xml");
        g_autofree char *page = read_words("VFWARDEN_MANUALS", "vfwarden.1");

        for (BlockerKind kind = 0; kind < _BLOCKER_KIND_MAX; kind++) {
                const char *word = blocker_kind_to_string(kind), *text = blocker_kind_text(kind);
                g_autofree char *in_xml = g_strdup_printf("\"%s\": %s", word, text);
                g_autofree char *in_page = g_strdup_printf(
                        ".B %s %s%s .", word, text, blocker_kind_is_asked(kind) ? " (asked)" : "");

                cr_assert(strstr(xml, in_xml), "Manager.xml has no '%s'", in_xml);
                cr_assert(strstr(page, in_page), "vfwarden.1 has no '%s'", in_page);
        }
}

/* Those that have the function are asked; what nobody can release refuses an Unplug. */
Test(verdict, whom_unplug_asks) {
        static const BlockerKind asked[] = { BLOCKER_USER, BLOCKER_DELAY, BLOCKER_PASID,
                                             BLOCKER_SESSION };
        unsigned n = 0;

        for (size_t i = 0; i < G_N_ELEMENTS(asked); i++)
                cr_assert(blocker_kind_is_asked(asked[i]));
        for (BlockerKind kind = 0; kind < _BLOCKER_KIND_MAX; kind++)
                n += blocker_kind_is_asked(kind);
        cr_assert_eq(n, G_N_ELEMENTS(asked));
}
