#include "policy/proc-text.h"

#include "policy/number.h"

#include <glib.h>
#include <string.h>

/* O_ACCMODE and O_PATH in asm-generic/fcntl.h, octal in fdinfo (seq_show() in fs/proc/fd.c);
 * fcntl.h is for those who do I/O. */
#define FLAGS_ACCESS 03
#define FLAGS_PATH   010000000

bool proc_link_parse(const char *link, const char *kind, uint64_t *ret) {
        size_t length = strlen(kind), end = strlen(link);

        if (strncmp(link, kind, length) != 0 || strncmp(link + length, ":[", 2) != 0 ||
            link[end - 1] != ']')
                return false;

        g_autofree char *digits = g_strndup(link + length + 2, end - length - 3);

        return number_parse(digits, 10, UINT64_MAX, ret) == 0;
}

const char *proc_text_find(const char *text, const char *key) {
        size_t length = strlen(key);

        for (const char *line = text; *line != '\0';) {
                size_t end = strcspn(line, "\n");

                if (strncmp(line, key, length) == 0)
                        return line + length + strspn(line + length, " \t");
                line += end + (line[end] == '\n');
        }
        return NULL;
}

bool open_flags_parse(const char *text, OpenFlags *ret) {
        const char *value = proc_text_find(text, "flags:");
        guint64 flags = value ? g_ascii_strtoull(value, NULL, 8) : 0;

        if (!value)
                return false;
        *ret = (OpenFlags){
                .path_only = (flags & FLAGS_PATH) != 0,
                .writes = (flags & FLAGS_PATH) == 0 && (flags & FLAGS_ACCESS) != 0,
        };
        return true;
}
