/* names.h: tables of the words that stand for the values of an enumeration. */
#pragma once

#include <errno.h>
#include <glib.h>
#include <string.h>

/* The index of `word` in `table` of `n` words, or -EINVAL. */
static inline int name_table_find(const char *const *table, int n, const char *word) {
        for (int i = 0; i < n; i++)
                if (strcmp(table[i], word) == 0)
                        return i;
        return -EINVAL;
}
