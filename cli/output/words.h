/* words.h: the contract's names in words a person understands.
 *
 * Owns one table for each kind of name. A name that a later daemon made up comes back as it is. */
#pragma once

const char *words_for_kind(const char *kind);

/* A sentence about what the kind means for the function, or NULL. */
const char *words_for_consequence(const char *kind);

const char *words_for_state(const char *state);
const char *words_for_command_memory(const char *command_memory);
const char *words_for_enforcement(const char *enforcement);
const char *words_for_isolation(const char *isolation);

/* "REASON: WORDS" for a lock's reason, or only the reason. The caller's. */
char *words_for_reason(const char *reason);
