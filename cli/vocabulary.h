/* vocabulary.h: one vocabulary for what can be done to a function.
 *
 * Owns the table from the words that a person knows, verbs of this command and operations of the
 * daemon, to the operations that they do. Every verb is in it (tests/cli), so `why` and
 * `inhibit --what` know each. */
#pragma once

/* The operations that `word` does, joined by ':'; "" for a verb that takes no function away;
 * NULL for a word that is not known here. */
const char *vocabulary_operations(const char *word);

/* All operations of the daemon, in its order, ends with NULL. */
extern const char *const vocabulary_all[];

/* The operations that the words in `what`, joined by ':', do, each once; words that are not known
 * here stay as they are. The caller's. Returns NULL and sets `ret_word`, the caller's, if one is a
 * verb that takes no function away: it cannot be inhibited. */
char *vocabulary_translate(const char *what, char **ret_word);

/* The known word nearest to `word`, or NULL. */
const char *vocabulary_nearest(const char *word);
