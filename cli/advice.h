/* advice.h: what a person can do about something that stands against an operation.
 *
 * Owns the words, by kind of blocker. They follow from what the daemon tells by name (kinds, lock
 * reasons, states, users), never from the text of a reason, which is for people. */
#pragma once

#include "cli/inventory.h"

typedef struct Question {
        const char *address;
        const char *operation;
        const Inventory *inventory;
        JsonArray *users; /* as of holders.h */
        JsonArray *inhibitors;
} Question;

/* What to do about `blocker` (Kind, Subject, Pid): sentences, for printing one on a line; none for
 * a kind that a later daemon made up. An array of strings of the caller's. Not escaped. */
GPtrArray *advice_for(const Question *question, JsonObject *blocker);
