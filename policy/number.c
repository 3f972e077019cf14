#include "policy/number.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

int number_parse(const char *text, unsigned base, uint64_t max, uint64_t *ret) {
        uint64_t value = 0;

        if (base == 16 && text[0] == '0' && text[1] == 'x')
                text += 2;
        if (*text == '\0')
                return -EINVAL;

        for (; *text != '\0'; text++) {
                int digit = base == 16 ? g_ascii_xdigit_value(*text) : g_ascii_digit_value(*text);

                if (digit < 0)
                        return -EINVAL;
                if (__builtin_mul_overflow(value, (uint64_t) base, &value) ||
                    __builtin_add_overflow(value, (uint64_t) digit, &value))
                        value = UINT64_MAX; /* stays above every `max` but the largest */
                if (value > max || value == UINT64_MAX)
                        return -ERANGE;
        }

        *ret = value;
        return 0;
}

int number_parse_int(const char *text, int32_t min, int32_t *ret) {
        int negative = *text == '-';
        uint64_t magnitude;
        int r;

        r = number_parse(text + negative, 10, INT32_MAX, &magnitude);
        if (r < 0)
                return r;

        int32_t value = negative ? -(int32_t) magnitude : (int32_t) magnitude;
        if (value < min)
                return -ERANGE;
        *ret = value;
        return 0;
}

int number_parse_device(const char *text, unsigned base, uint32_t *ret_major, uint32_t *ret_minor) {
        const char *colon = strchr(text, ':');
        uint64_t major, minor;
        int r;

        if (!colon)
                return -EINVAL;

        g_autofree char *first = g_strndup(text, (gsize) (colon - text));

        r = number_parse(first, base, UINT32_MAX, &major);
        if (r < 0)
                return r;
        r = number_parse(colon + 1, base, UINT32_MAX, &minor);
        if (r < 0)
                return r;

        *ret_major = (uint32_t) major;
        *ret_minor = (uint32_t) minor;
        return 0;
}
