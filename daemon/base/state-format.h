/* state-format.h: the text of state.json, as state.c, state-read.c and state-write.c have it
 * between them.
 *
 * Numbers are strings in hexadecimal: JSON's numbers are doubles to many a reader, and inodes have
 * 64 bits. */
#pragma once

#include "daemon/base/state.h"

#include <json-glib/json-glib.h>

/* Adds to `state` what `root` holds. Entries that this daemon would not have written are left out,
 * and so are duplicates: the first counts. Returns how many were left out, or -EBADMSG when the
 * whole is of another form. */
int state_read(State *state, JsonObject *root);

/* The text, to be freed with g_free(). */
char *state_write(const State *state);
