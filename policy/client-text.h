/* client-text.h: texts that clients and processes choose for other people to read.
 *
 * They appear on terminals, in logs and in other clients' windows. A control character in one is
 * therefore an attack on the reader: an escape sequence, a forged line of a log, a mark of
 * private-text.h. They are also parts of replies: sd-bus neither writes nor reads a string with one
 * of Unicode's noncharacters (U+FFFE, U+FDD0, ...), which GLib and dbus-daemon accept. With one
 * such string nobody would get the reply. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Whether `text` is UTF-8 of at most `max` bytes without noncharacters and control characters
 * (Unicode's category Cc, the line and paragraph separators, and the characters that turn the
 * direction of writing). With `lines` line feeds and tabs are allowed. */
bool client_text_valid(const char *text, size_t max, bool lines);

/* Replaces all that is not valid, line feeds and tabs included, by spaces. `text` is UTF-8. */
void client_text_flatten(char *text);

/* A valid copy of the first `length` bytes of whatever `text` is, of all with -1. The caller's. */
char *client_text_make_valid(const char *text, ptrdiff_t length);

/* Cuts `text` at the end of a character, so that it has at most `max` bytes; "..." is the end of
 * what was cut. `max` is 3 at least. */
void client_text_cut(char *text, size_t max);

/* A valid copy of whatever `text` is, cut to at most `max` bytes. The caller's. */
char *client_text_fit(const char *text, size_t max);
