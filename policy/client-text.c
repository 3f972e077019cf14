#include "policy/client-text.h"

#include <glib.h>
#include <string.h>

/* The bidirectional formatting characters of Unicode (UAX #9, section 2) let a text look like
 * another. */
static bool turns_direction(gunichar c) {
        return c == 0x061c || c == 0x200e || c == 0x200f || (c >= 0x202a && c <= 0x202e) ||
               (c >= 0x2066 && c <= 0x2069);
}

/* The Unicode Standard, section 23.7. */
static bool is_noncharacter(gunichar c) {
        return (c & 0xfffe) == 0xfffe || (c >= 0xfdd0 && c <= 0xfdef);
}

static bool is_harmful(gunichar c) {
        return g_unichar_iscntrl(c) || is_noncharacter(c) || c == 0x2028 || c == 0x2029 ||
               turns_direction(c);
}

bool client_text_valid(const char *text, size_t max, bool lines) {
        if (strlen(text) > max || !g_utf8_validate(text, -1, NULL))
                return false;
        for (const char *p = text; *p; p = g_utf8_next_char(p))
                if (is_harmful(g_utf8_get_char(p)) && !(lines && (*p == '\n' || *p == '\t')))
                        return false;
        return true;
}

void client_text_flatten(char *text) {
        for (char *p = text, *after; *p; p = after) {
                after = g_utf8_next_char(p);
                if (is_harmful(g_utf8_get_char(p)))
                        memset(p, ' ', (size_t) (after - p));
        }
}

char *client_text_make_valid(const char *text, ptrdiff_t length) {
        char *valid = g_utf8_make_valid(text, length);

        client_text_flatten(valid);
        return valid;
}

void client_text_cut(char *text, size_t max) {
        char *end;

        if (strlen(text) <= max)
                return;
        end = g_utf8_find_prev_char(text, text + max - strlen("...") + 1);
        memcpy(end ? end : text, "...", sizeof("..."));
}

char *client_text_fit(const char *text, size_t max) {
        char *valid = client_text_make_valid(text, -1);

        client_text_cut(valid, max);
        return valid;
}
