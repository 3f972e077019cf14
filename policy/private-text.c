#include "policy/private-text.h"

#include <glib.h>
#include <string.h>

#define BEGIN '\x02'
#define END   '\x03'

char *private_text_for(const char *text, bool may_see) {
        g_autoptr(GString) out = g_string_new(NULL);
        bool inside = false;

        for (const char *p = text; *p; p++) {
                if (*p == BEGIN && !inside && !may_see)
                        g_string_append(out, "a process");
                if (*p == BEGIN || *p == END)
                        inside = *p == BEGIN;
                else if (!inside || may_see)
                        g_string_append_c(out, *p);
        }
        return g_string_free(g_steal_pointer(&out), FALSE);
}

bool private_text_is_public(const char *text) {
        return !strchr(text, BEGIN);
}
