/* proc-text.h: what the files of a process in /proc say, line by line.
 *
 * Pure. The end of a text may be missing. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* The inode in a link to what has no name: "socket:[4711]" of `kind` "socket". Returns false, with
 * `*ret` untouched, for every other link. */
bool proc_link_parse(const char *link, const char *kind, uint64_t *ret);

/* Where the value of `key`, such as "flags:", begins, after its blanks; NULL: there is no such
 * line. */
const char *proc_text_find(const char *text, const char *key);

typedef struct OpenFlags {
        bool path_only; /* opened with O_PATH: holds nothing */
        bool writes;    /* open for writing */
} OpenFlags;

/* Reads the flags in the text of /proc/PID/fdinfo/N. Returns false, with `*ret` untouched, where
 * it has none: the descriptor was closed meanwhile. */
bool open_flags_parse(const char *text, OpenFlags *ret);
