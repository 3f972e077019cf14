#include "cli/suggest.h"

#include <glib.h>
#include <string.h>

/* Longer than any word here; the work is the product of the lengths. */
#define LENGTH_MAX 64

unsigned suggest_distance(const char *a, const char *b) {
        size_t n_a = strlen(a), n_b = strlen(b);
        /* Of the prefixes of `a` one character and two characters ago, and of this one. */
        g_autofree unsigned *before = g_new0(unsigned, n_b + 1), *last = g_new0(unsigned, n_b + 1),
                            *now = g_new0(unsigned, n_b + 1);

        for (size_t j = 0; j <= n_b; j++)
                now[j] = (unsigned) j;
        for (size_t i = 1; i <= n_a; i++) {
                unsigned *oldest = before;

                before = last;
                last = now;
                now = oldest;
                now[0] = (unsigned) i;
                for (size_t j = 1; j <= n_b; j++) {
                        unsigned replaced = last[j - 1] + (a[i - 1] != b[j - 1]);

                        now[j] = MIN(replaced, MIN(last[j], now[j - 1]) + 1);
                        if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                                now[j] = MIN(now[j], before[j - 2] + 1);
                }
        }
        return now[n_b];
}

static const char *only_with_prefix(const char *text, const char *const *candidates) {
        const char *found = NULL;

        for (; *candidates; candidates++) {
                if (!g_str_has_prefix(*candidates, text))
                        continue;
                if (found)
                        return NULL;
                found = *candidates;
        }
        return found;
}

const char *suggest_nearest(const char *text, const char *const *candidates) {
        size_t length = strlen(text);
        unsigned best = MAX((unsigned) length / 3, 1U) + 1;
        const char *nearest = NULL;

        if (length == 0 || length > LENGTH_MAX)
                return NULL;
        for (const char *const *candidate = candidates; *candidate; candidate++) {
                unsigned distance;

                if (strlen(*candidate) > LENGTH_MAX)
                        continue;
                distance = suggest_distance(text, *candidate);
                /* Not one that has nothing of the text. */
                if (distance < best && distance < length) {
                        best = distance;
                        nearest = *candidate;
                }
        }
        return nearest ? nearest : only_with_prefix(text, candidates);
}

char *suggest_question(const char *meant) {
        return meant ? g_strdup_printf("; did you mean '%s'?", meant) : g_strdup("");
}
