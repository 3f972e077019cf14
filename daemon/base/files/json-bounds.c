#include "daemon/base/files/json-bounds.h"

#include <ctype.h>
#include <string.h>

/* Where the string that begins at `i` ends: at its closing quote, or at `length` when it has
 * none. */
static size_t skip_string(const char *text, size_t length, size_t i) {
        for (i++; i < length && text[i] != '"'; i++)
                if (text[i] == '\\')
                        i++;
        return i;
}

static bool is_allowed(char c) {
        return c != '\0' && (isalnum((unsigned char) c) || strchr(" \t\r\n,:+-.", c));
}

bool json_is_bounded(const char *text, size_t length, unsigned max_depth, size_t max_values) {
        size_t n_values = 0;
        unsigned depth = 0;

        for (size_t i = 0; i < length; i++) {
                char c = text[i];

                n_values += c == ',' || c == '{' || c == '[';
                if (c == '"')
                        i = skip_string(text, length, i);
                else if (c == '{' || c == '[')
                        depth++;
                else if (c == '}' || c == ']')
                        depth -= depth > 0;
                else if (!is_allowed(c))
                        return false;
                if (depth > max_depth || n_values > max_values)
                        return false;
        }
        return true;
}
