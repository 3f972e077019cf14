#include "policy/proc-text.h"

#include <glib.h>
#include <string.h>

/* O_ACCMODE and O_PATH in asm-generic/fcntl.h, octal in fdinfo (seq_show() in fs/proc/fd.c);
 * fcntl.h is for those who do I/O. */
#define FLAGS_ACCESS 03
#define FLAGS_PATH   010000000

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
