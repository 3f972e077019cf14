/* pattern-list.h: a list of shell patterns for names, e.g. of drivers: "vfio-pci", "*-vfio-pci".
 *
 * Immutable once made. */
#pragma once

#include <glib.h>
#include <stdbool.h>

typedef struct PatternList PatternList;

/* The most patterns that a list may have, and the longest that one may be. */
#define PATTERN_LIST_MAX   256
#define PATTERN_LENGTH_MAX 64

/* Makes a list from words parted by blanks; none make an empty list, which matches nothing. Returns
 * 0; -EINVAL when a word is no pattern for a kernel name (letters, digits, '-', '_', '.', and '*',
 * '?', '[', ']'); -E2BIG when there are too many. On failure `*ret_word`, when not NULL, is what
 * was wrong with; the caller frees it with g_free(). */
int pattern_list_parse(const char *words, PatternList **ret, char **ret_word);

PatternList *pattern_list_free(PatternList *list);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PatternList, pattern_list_free)

bool pattern_list_matches(const PatternList *list, const char *name);
