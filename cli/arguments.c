#include "cli/arguments.h"

#include "cli/output/report.h"

#include <string.h>

/* Reads digits, no signs or blanks. Returns what follows them; NULL if there are none, or more than
 * any value here has. */
static const char *read_digits(const char *text, uint64_t *ret) {
        uint64_t value = 0;
        const char *p = text;

        for (; g_ascii_isdigit(*p) && p - text < 9; p++)
                value = value * 10 + (uint64_t) g_ascii_digit_value(*p);
        if (p == text || g_ascii_isdigit(*p))
                return NULL;
        *ret = value;
        return p;
}

bool argument_read_timeout(const char *text, uint64_t *ret_usec) {
        static const struct {
                const char *unit;
                uint64_t usec;
        } units[] = {
                { "", 1000000 },
                { "s", 1000000 },
                { "ms", 1000 },
                { "min", 60 * UINT64_C(1000000) },
                { "h", 60 * 60 * UINT64_C(1000000) },
        };
        uint64_t number;
        const char *unit = read_digits(text, &number);

        for (size_t i = 0; unit && i < G_N_ELEMENTS(units); i++) {
                if (!g_str_equal(unit, units[i].unit))
                        continue;
                if (number * units[i].usec > ARGUMENT_TIMEOUT_MAX_USEC) {
                        print_error("--timeout takes a day at most, not '%s'", text);
                        return false;
                }
                *ret_usec = number * units[i].usec;
                return true;
        }
        print_error("--timeout takes a time as 30s, 500ms, 5min or 1h, not '%s'", text);
        return false;
}

static bool is_negative(const char *text) {
        return text[0] == '-' && text[1] && strspn(text + 1, "0123456789") == strlen(text + 1);
}

bool argument_read_count(const char *text, uint16_t *ret) {
        uint64_t number;
        const char *rest = read_digits(text, &number);

        if (!rest || *rest || number > UINT16_MAX) {
                if (is_negative(text))
                        print_error("%s is out of range: a number of virtual functions is 0 to %d",
                                    text, UINT16_MAX);
                else
                        print_error("'%s' is not a number of virtual functions", text);
                return false;
        }
        *ret = (uint16_t) number;
        return true;
}

bool argument_read_switch(const char *text, bool *ret) {
        static const struct {
                const char *word;
                bool on;
        } words[] = {
                { "on", true },   { "off", false },   { "yes", true }, { "no", false },
                { "true", true }, { "false", false }, { "1", true },   { "0", false },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(words); i++)
                if (g_str_equal(text, words[i].word)) {
                        *ret = words[i].on;
                        return true;
                }
        print_error("'%s' is neither yes nor no", text);
        return false;
}

bool argument_read_unguarded(const char *text, bool *ret_allow) {
        if (!g_str_equal(text, "allow") && !g_str_equal(text, "refuse")) {
                print_error("--unguarded takes allow or refuse, not '%s'", text);
                return false;
        }
        *ret_allow = g_str_equal(text, "allow");
        return true;
}

/* Digits of `base`, all of the text. */
static bool read_all_digits(const char *text, unsigned base, uint64_t *ret) {
        uint64_t value = 0;

        if (!*text)
                return false;
        for (const char *p = text; *p; p++) {
                int digit = base == 16 ? g_ascii_xdigit_value(*p) : g_ascii_digit_value(*p);

                if (digit < 0 || __builtin_mul_overflow(value, base, &value) ||
                    __builtin_add_overflow(value, (uint64_t) digit, &value))
                        return false;
        }
        *ret = value;
        return true;
}

bool argument_read_number(const char *name, const char *text, uint64_t *ret) {
        if (g_str_has_prefix(text, "0x") ? read_all_digits(text + 2, 16, ret)
                                         : read_all_digits(text, 10, ret))
                return true;
        if (is_negative(text)) {
                print_error("%s %s is out of range: it cannot be negative", name, text);
                return false;
        }
        print_error("%s '%s' is neither a decimal number nor one in hexadecimal, as 0x10", name,
                    text);
        return false;
}

bool argument_read_bytes(const char *text, size_t max, GByteArray **ret) {
        g_autoptr(GByteArray) bytes = g_byte_array_new();

        for (const char *p = text; *p; p += 2) {
                uint8_t byte;

                if (!g_ascii_isxdigit(p[0]) || !g_ascii_isxdigit(p[1])) {
                        print_error("'%s' is not bytes, two hexadecimal digits each", text);
                        return false;
                }
                byte = (uint8_t) (g_ascii_xdigit_value(p[0]) << 4 | g_ascii_xdigit_value(p[1]));
                g_byte_array_append(bytes, &byte, 1);
        }
        if (bytes->len == 0 || bytes->len > max) {
                print_error("A store has 1 to %zu bytes, not %u", max, bytes->len);
                return false;
        }
        *ret = g_steal_pointer(&bytes);
        return true;
}

bool argument_is_text(const char *name, const char *text) {
        if (g_utf8_validate(text, -1, NULL))
                return true;
        print_error("%s '%s' has bytes that are no text", name, text);
        return false;
}
