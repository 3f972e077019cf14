/* output.h: everything the command prints.
 *
 * Owns the buffer in front of standard output, whether colours are used, and the one place where
 * strings that came from the bus are made safe: device names, reasons and error texts may hold
 * anything, and a terminal obeys control characters. Text functions escape; only what is a literal
 * of this program goes through the others. */
#pragma once

#include <errno.h>
#include <glib.h>
#include <json-glib/json-glib.h>
#include <stdbool.h>

typedef enum ColorMode {
        COLOR_AUTO,
        COLOR_ALWAYS,
        COLOR_NEVER,
        _COLOR_MODE_MAX,
        _COLOR_MODE_INVALID = -EINVAL,
} ColorMode;

typedef enum Style {
        STYLE_PLAIN,
        STYLE_BOLD,
        STYLE_RED,
        STYLE_GREEN,
        STYLE_YELLOW,
        _STYLE_MAX,
} Style;

typedef struct Output {
        int fd;
        bool color;
        bool full;  /* nothing is cut to the width of a terminal */
        bool quiet; /* nothing is written */
        bool utf8;  /* the locale's; where it is not, nothing but ASCII is printed */
        GString *buffer;
        int error; /* the first write that failed, negative errno; nothing is written after it */
} Output;

/* COLOR_AUTO colours when `fd` is a terminal that is not dumb and NO_COLOR is unset or empty
 * (no-color.org). */
void output_init(Output *output, int fd, ColorMode color);

/* Frees the buffer; what was not flushed is lost. */
void output_done(Output *output);

/* `text` from the bus, safe for a terminal and one line long: control, format and unassigned
 * characters become \n, \t, \xNN or \uNNNN, and so does all but ASCII where the locale is not
 * UTF-8. Bytes that are not UTF-8 become \xNN. The string is the caller's. */
char *output_escape(const Output *output, const char *text);

/* The same for text that goes elsewhere; `utf8`: whether more than ASCII is printed. */
char *output_escape_for(bool utf8, const char *text);

/* How many columns `text`, escaped already, takes on a terminal. */
size_t output_width(const char *text);

/* How many columns the terminal has that the output goes to: $COLUMNS, or what the terminal says; 0
 * if it is none. */
size_t output_columns(const Output *output);

/* How many lines it has; 24 where it does not say. */
size_t output_lines(const Output *output);

/* `text`, escaped already, cut to `columns` with an ellipsis if it is longer; the caller's. */
char *output_ellipsize(const Output *output, const char *text, size_t columns);

/* Adds `text`, which may come from anywhere, in a colour if colours are on. */
void output_text(Output *output, Style style, const char *text);

/* Adds text of this program; arguments must be numbers or escaped. */
void output_format(Output *output, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* Adds `text`, escaped already, between the codes of `style`. */
void output_styled(Output *output, Style style, const char *text);

/* Adds `node` as JSON and a newline; on several lines if `pretty`. */
void output_json(Output *output, JsonNode *node, bool pretty);

/* Writes what was added. Returns 0; -EPIPE if the reader has gone, which is no cause for noise; or
 * the negative errno of the write that failed. */
int output_flush(Output *output);

/* The mode called `name`, or _COLOR_MODE_INVALID. */
ColorMode color_mode_from_string(const char *name);
