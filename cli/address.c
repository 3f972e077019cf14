#include "cli/address.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

typedef struct Part {
        const char *name;
        size_t max_digits;
        unsigned max;
} Part;

static const Part part_domain = { "domain", 8, 0xffffffff };
static const Part part_bus = { "bus", 2, 0xff };
static const Part part_device = { "device", 2, 0x1f };
static const Part part_function = { "function", 1, 7 };

/* Parses `text`, all of it, as the given part. The digits are checked one by one because
 * g_ascii_string_to_unsigned() and its kin take signs, blanks or 0x, which are no part of an
 * address. */
static int part_parse(const Part *part, const char *text, unsigned *ret, char **ret_why) {
        guint64 value = 0;

        if (!*text) {
                *ret_why = g_strdup_printf("the %s is missing", part->name);
                return -EINVAL;
        }

        for (const char *p = text; *p; p++) {
                if (!g_ascii_isxdigit(*p)) {
                        g_autofree char *rest = g_utf8_substring(p, 0, 1);

                        *ret_why = g_strdup_printf("'%s' in the %s is not a hexadecimal digit",
                                                   rest, part->name);
                        return -EINVAL;
                }
                if ((size_t) (p - text) >= part->max_digits) {
                        *ret_why =
                                g_strdup_printf("the %s has more than %zu digit%s", part->name,
                                                part->max_digits, part->max_digits > 1 ? "s" : "");
                        return -EINVAL;
                }
                value = value << 4 | (guint64) g_ascii_xdigit_value(*p);
        }

        if (value > part->max) {
                *ret_why = g_strdup_printf("%s %s is above %x", part->name, text, part->max);
                return -EINVAL;
        }

        *ret = (unsigned) value;
        return 0;
}

int address_normalise(const char *text, char **ret_address, char **ret_why) {
        unsigned domain = 0, bus, device, function;
        int r;

        if (!g_utf8_validate(text, -1, NULL)) {
                *ret_why = g_strdup("it has bytes that are no text");
                return -EINVAL;
        }

        g_auto(GStrv) parts = g_strsplit(text, ":", -1);
        guint n = g_strv_length(parts);

        if (n < 2 || n > 3) {
                *ret_why = g_strdup(n < 2 ? "there is no ':' between bus and device"
                                          : "there are more than two ':'");
                return -EINVAL;
        }

        char *device_text = parts[n - 1], *dot = strchr(device_text, '.');

        if (!dot) {
                *ret_why = g_strdup("there is no '.' between device and function");
                return -EINVAL;
        }
        *dot = '\0';

        if (n == 3) {
                r = part_parse(&part_domain, parts[0], &domain, ret_why);
                if (r < 0)
                        return r;
        }
        r = part_parse(&part_bus, parts[n - 2], &bus, ret_why);
        if (r < 0)
                return r;
        r = part_parse(&part_device, device_text, &device, ret_why);
        if (r < 0)
                return r;
        r = part_parse(&part_function, dot + 1, &function, ret_why);
        if (r < 0)
                return r;

        *ret_address = g_strdup_printf("%04x:%02x:%02x.%x", domain, bus, device, function);
        return 0;
}

char *address_guess(const char *text) {
        g_autoptr(GPtrArray) parts = g_ptr_array_new_with_free_func(g_free);
        g_autofree char *why = NULL, *address = NULL, *joined = NULL;
        const char *p = g_str_has_prefix(text, "pci") ? text + strlen("pci") : text;

        while (*p) {
                const char *start = p;

                while (g_ascii_isxdigit(*p))
                        p++;
                if (p > start)
                        g_ptr_array_add(parts, g_strndup(start, (gsize) (p - start)));
                else
                        p++;
        }
        if (parts->len < 3 || parts->len > 4)
                return NULL;
        joined = parts->len == 4
                         ? g_strdup_printf("%s:%s:%s.%s", (char *) parts->pdata[0],
                                           (char *) parts->pdata[1], (char *) parts->pdata[2],
                                           (char *) parts->pdata[3])
                         : g_strdup_printf("%s:%s.%s", (char *) parts->pdata[0],
                                           (char *) parts->pdata[1], (char *) parts->pdata[2]);
        return address_normalise(joined, &address, &why) < 0 ? NULL : g_steal_pointer(&address);
}
