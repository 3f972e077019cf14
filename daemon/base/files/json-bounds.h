/* json-bounds.h: whether a JSON text is safe to parse.
 *
 * Owns nothing. json-glib descends into itself for each level of nesting (json_parse_value() in
 * json-parser.c): a megabyte of "[" overflows the stack. It also takes comments, and strings in
 * single quotes, which no JSON has and in which brackets could hide from a count; they are
 * refused. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Whether `text` nests at most `max_depth` levels, has at most `max_values` values, and has nothing
 * outside strings but what JSON allows there. It may still be no JSON. */
bool json_is_bounded(const char *text, size_t length, unsigned max_depth, size_t max_values);
