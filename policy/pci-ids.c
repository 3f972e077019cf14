#include "policy/pci-ids.h"

#include <stdbool.h>
#include <string.h>

#define ID_DIGITS 4

struct PciIds {
        char *text;
        const char *end;     /* its NUL */
        GHashTable *vendors; /* number -> its line in the text */
};

/* Not strchr(): under AddressSanitizer that measures all the rest of the text first, for each
 * line. */
static const char *line_end(const PciIds *ids, const char *line) {
        const char *end = memchr(line, '\n', (size_t) (ids->end - line));

        return end ? end : ids->end;
}

static const char *next_line(const PciIds *ids, const char *line) {
        const char *end = line_end(ids, line);

        return *end == '\n' ? end + 1 : end;
}

static bool is_blank(char c) {
        return c == ' ' || c == '\t';
}

/* Reads the four digits and the blank that an entry begins with. */
static bool parse_id(const char *entry, uint16_t *ret) {
        unsigned id = 0;

        for (unsigned i = 0; i < ID_DIGITS; i++) {
                if (!g_ascii_isxdigit(entry[i]))
                        return false;
                id = id << 4 | (unsigned) g_ascii_xdigit_value(entry[i]);
        }
        *ret = (uint16_t) id;
        return is_blank(entry[ID_DIGITS]);
}

/* The text behind the digits, up to the end of the line. */
static char *entry_name(const PciIds *ids, const char *entry) {
        const char *start = entry + ID_DIGITS, *end = line_end(ids, start);

        while (start < end && is_blank(*start))
                start++;
        while (end > start && is_blank(end[-1]))
                end--;
        return g_strndup(start, (gsize) (end - start));
}

PciIds *pci_ids_new(char *text) {
        PciIds *ids = g_new(PciIds, 1);

        *ids = (PciIds){ .text = text,
                         .end = text + strlen(text),
                         .vendors = g_hash_table_new(NULL, NULL) };
        for (const char *line = text; *line != '\0'; line = next_line(ids, line)) {
                uint16_t vendor;

                /* Of two, the first is the one that counts, as for libpci. */
                if (parse_id(line, &vendor) &&
                    !g_hash_table_contains(ids->vendors, GUINT_TO_POINTER(vendor)))
                        g_hash_table_insert(ids->vendors, GUINT_TO_POINTER(vendor),
                                            (gpointer) line);
        }
        return ids;
}

PciIds *pci_ids_free(PciIds *ids) {
        if (!ids)
                return NULL;
        g_hash_table_unref(ids->vendors);
        g_free(ids->text);
        g_free(ids);
        return NULL;
}

char *pci_ids_vendor(const PciIds *ids, uint16_t vendor) {
        const char *line = g_hash_table_lookup(ids->vendors, GUINT_TO_POINTER(vendor));

        return line ? entry_name(ids, line) : NULL;
}

char *pci_ids_device(const PciIds *ids, uint16_t vendor, uint16_t device) {
        const char *line = g_hash_table_lookup(ids->vendors, GUINT_TO_POINTER(vendor));
        uint16_t id;

        if (!line)
                return NULL;
        /* Up to the next entry of the vendors' rank; comments and empty lines stand anywhere.
         * Subsystems have two tabs. */
        for (line = next_line(ids, line); *line == '\t' || *line == '#' || *line == '\n';
             line = next_line(ids, line))
                if (*line == '\t' && parse_id(line + 1, &id) && id == device)
                        return entry_name(ids, line + 1);
        return NULL;
}
