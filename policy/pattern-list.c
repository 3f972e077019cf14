#include "policy/pattern-list.h"

#include <errno.h>
#include <fnmatch.h>
#include <string.h>

struct PatternList {
        char **patterns;
};

static bool pattern_valid(const char *word) {
        return strlen(word) <= PATTERN_LENGTH_MAX &&
               strspn(word, G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS "-_.*?[]") == strlen(word);
}

int pattern_list_parse(const char *words, PatternList **ret, char **ret_word) {
        g_auto(GStrv) split = g_strsplit_set(words, " \t", -1);
        g_autoptr(GPtrArray) patterns = g_ptr_array_new_with_free_func(g_free);
        const char *wrong = NULL;
        int r = 0;

        for (char **word = split; *word && r == 0; word++) {
                if (**word == '\0')
                        continue;
                if (!pattern_valid(*word))
                        r = -EINVAL;
                else if (patterns->len == PATTERN_LIST_MAX)
                        r = -E2BIG;
                else
                        g_ptr_array_add(patterns, g_strdup(*word));
                wrong = *word;
        }
        if (r < 0) {
                if (ret_word)
                        *ret_word = g_strdup(wrong);
                return r;
        }

        PatternList *list = g_new(PatternList, 1);
        g_ptr_array_add(patterns, NULL);
        list->patterns = (char **) g_ptr_array_free(g_steal_pointer(&patterns), FALSE);
        *ret = list;
        return 0;
}

PatternList *pattern_list_free(PatternList *list) {
        if (list)
                g_strfreev(list->patterns);
        g_free(list);
        return NULL;
}

bool pattern_list_matches(const PatternList *list, const char *name) {
        for (char **pattern = list->patterns; *pattern; pattern++)
                if (fnmatch(*pattern, name, 0) == 0)
                        return true;
        return false;
}
