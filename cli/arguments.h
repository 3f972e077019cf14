/* arguments.h: what a person types, other than addresses and options' names.
 *
 * Owns nothing. Each function takes one form and nothing beside it, prints what is wrong with the
 * rest, and says so by false or a negative errno; the verb then ends with EXIT_CODE_USAGE. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

/* Nobody means longer, and the daemon takes no more. */
#define ARGUMENT_TIMEOUT_MAX_USEC (24 * 60 * 60 * UINT64_C(1000000))

/* A length of time in microseconds: digits and s (also without it), ms, min or h; at most
 * ARGUMENT_TIMEOUT_MAX_USEC. */
bool argument_read_timeout(const char *text, uint64_t *ret_usec);

/* A number of virtual functions, decimal. */
bool argument_read_count(const char *text, uint16_t *ret);

/* on or off, also as yes and no, true and false, 1 and 0. */
bool argument_read_switch(const char *text, bool *ret);

/* allow or refuse. */
bool argument_read_unguarded(const char *text, bool *ret_allow);

/* A number, decimal or 0x and hexadecimal digits, of any size. `name` is what it is, for the
 * message. */
bool argument_read_number(const char *name, const char *text, uint64_t *ret);

/* Bytes, two hexadecimal digits each and nothing between them; from one byte to `max`. */
bool argument_read_bytes(const char *text, size_t max, GByteArray **ret);

/* Whether `text` can be sent over D-Bus: it is UTF-8. `name` is what it is, for the message. */
bool argument_is_text(const char *name, const char *text);
