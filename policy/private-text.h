/* private-text.h: messages of which not every reader may see every part.
 *
 * A command line can contain secrets. Where a message names a process, its command line stands
 * between two marks until the reader of the message is known. The marks are control characters,
 * which neither a command line here nor a text from a client contains. */
#pragma once

#include <stdbool.h>

/* The private part of a format, e.g. PRIVATE_TEXT("%s") " (pid %u)". */
#define PRIVATE_TEXT(text) "\x02" text "\x03"

/* A copy of `text` without marks; the private parts are there, or "a process" stands for each. Free
 * with g_free(). */
char *private_text_for(const char *text, bool may_see);

/* Whether `text` reads the same to everybody. */
bool private_text_is_public(const char *text);
