/* suggest.h: what a mistyped word was meant to be.
 *
 * Owns nothing, pure: the verbs, options, operations and addresses that exist are the caller's. */
#pragma once

/* The number of characters to insert, delete, replace, or exchange with their neighbour that leads
 * from `a` to `b` (optimal string alignment), counted in bytes. */
unsigned suggest_distance(const char *a, const char *b);

/* The candidate that `text` is nearest to, the first of several; else the only one that begins with
 * `text`; else NULL. A third of the text may be wrong. `candidates` ends with NULL; borrowed. */
const char *suggest_nearest(const char *text, const char *const *candidates);

/* What an error adds for `meant`: "; did you mean 'list'?", or nothing for NULL. Free with
 * g_free(). */
char *suggest_question(const char *meant);
