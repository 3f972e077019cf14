#include "cli/output/output.h"

#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define LINES_USUAL 24

#define STYLE_RESET "\x1b[0m"

static const char *const style_codes[_STYLE_MAX] = {
        [STYLE_PLAIN] = "",         [STYLE_BOLD] = "\x1b[1m",    [STYLE_RED] = "\x1b[1;31m",
        [STYLE_GREEN] = "\x1b[32m", [STYLE_YELLOW] = "\x1b[33m",
};

static const char *const color_mode_names[_COLOR_MODE_MAX] = {
        [COLOR_AUTO] = "auto",
        [COLOR_ALWAYS] = "always",
        [COLOR_NEVER] = "never",
};

ColorMode color_mode_from_string(const char *name) {
        for (ColorMode mode = 0; mode < _COLOR_MODE_MAX; mode++)
                if (g_str_equal(color_mode_names[mode], name))
                        return mode;
        return _COLOR_MODE_INVALID;
}

static bool color_wanted(int fd, ColorMode mode) {
        if (mode != COLOR_AUTO)
                return mode == COLOR_ALWAYS;

        const char *no_color = g_getenv("NO_COLOR"), *term = g_getenv("TERM");

        if (no_color && *no_color)
                return false;
        return isatty(fd) && term && *term && !g_str_equal(term, "dumb");
}

void output_init(Output *output, int fd, ColorMode color) {
        *output = (Output){
                .fd = fd,
                .color = color_wanted(fd, color),
                .utf8 = g_get_charset(NULL),
                .buffer = g_string_new(NULL),
        };
}

void output_done(Output *output) {
        if (output->buffer)
                g_string_free(output->buffer, TRUE);
        output->buffer = NULL;
}

/* Whether a terminal shows `c` as a glyph in its place and does nothing else with it. */
static bool is_harmless(gunichar c) {
        switch (g_unichar_type(c)) {
        case G_UNICODE_CONTROL:
        case G_UNICODE_FORMAT: /* turns the direction of writing */
        case G_UNICODE_UNASSIGNED:
        case G_UNICODE_PRIVATE_USE:
        case G_UNICODE_SURROGATE:
        case G_UNICODE_LINE_SEPARATOR:
        case G_UNICODE_PARAGRAPH_SEPARATOR:
                return false;
        default:
                return true;
        }
}

static void escape_character(GString *to, gunichar c) {
        if (c == '\n')
                g_string_append(to, "\\n");
        else if (c == '\t')
                g_string_append(to, "\\t");
        else if (c < 0x80)
                g_string_append_printf(to, "\\x%02x", c);
        else if (c < 0x10000)
                g_string_append_printf(to, "\\u%04x", c);
        else
                g_string_append_printf(to, "\\U%08x", c);
}

char *output_escape_for(bool utf8, const char *text) {
        g_autoptr(GString) to = g_string_new(NULL);

        for (const char *p = text; *p;) {
                gunichar c = g_utf8_get_char_validated(p, -1);

                if (c == (gunichar) -1 || c == (gunichar) -2) {
                        g_string_append_printf(to, "\\x%02x", (unsigned char) *p);
                        p++;
                        continue;
                }
                if (is_harmless(c) && (utf8 || c < 0x80))
                        g_string_append_unichar(to, c);
                else
                        escape_character(to, c);
                p = g_utf8_next_char(p);
        }

        return g_string_free(g_steal_pointer(&to), FALSE);
}

char *output_escape(const Output *output, const char *text) {
        return output_escape_for(output->utf8, text);
}

size_t output_width(const char *text) {
        size_t width = 0;

        for (const char *p = text; *p; p = g_utf8_next_char(p)) {
                gunichar c = g_utf8_get_char(p);

                if (!g_unichar_iszerowidth(c))
                        width += g_unichar_iswide(c) ? 2 : 1;
        }
        return width;
}

size_t output_columns(const Output *output) {
        const char *variable = g_getenv("COLUMNS");
        struct winsize size = { 0 };
        guint64 columns;

        if (!isatty(output->fd))
                return 0;
        if (variable && g_ascii_string_to_unsigned(variable, 10, 1, G_MAXUINT16, &columns, NULL))
                return (size_t) columns;
        return ioctl(output->fd, TIOCGWINSZ, &size) < 0 ? 0 : size.ws_col;
}

size_t output_lines(const Output *output) {
        struct winsize size = { 0 };

        return ioctl(output->fd, TIOCGWINSZ, &size) < 0 || size.ws_row == 0 ? LINES_USUAL
                                                                            : size.ws_row;
}

char *output_ellipsize(const Output *output, const char *text, size_t columns) {
        const char *mark = output->utf8 ? "\u2026" : "...";
        size_t mark_width = output->utf8 ? 1 : 3, width = 0;

        if (output_width(text) <= columns)
                return g_strdup(text);
        if (columns < mark_width)
                return g_strdup("");
        for (const char *p = text;; p = g_utf8_next_char(p)) {
                gunichar c = g_utf8_get_char(p);
                size_t more = g_unichar_iszerowidth(c) ? 0 : g_unichar_iswide(c) ? 2 : 1;

                if (width + more + mark_width > columns)
                        return g_strdup_printf("%.*s%s", (int) (p - text), text, mark);
                width += more;
        }
}

void output_styled(Output *output, Style style, const char *text) {
        bool colored = output->color && style != STYLE_PLAIN && *text;

        if (colored)
                g_string_append(output->buffer, style_codes[style]);
        g_string_append(output->buffer, text);
        if (colored)
                g_string_append(output->buffer, STYLE_RESET);
}

void output_text(Output *output, Style style, const char *text) {
        g_autofree char *safe = output_escape(output, text);

        output_styled(output, style, safe);
}

void output_format(Output *output, const char *format, ...) {
        va_list arguments;

        va_start(arguments, format);
        g_string_append_vprintf(output->buffer, format, arguments);
        va_end(arguments);
}

/* JsonGenerator escapes the control characters of ASCII; the others mean as much to a terminal.
 * They can only stand inside strings, so \u escapes leave the document what it was. */
void output_json(Output *output, JsonNode *node, bool pretty) {
        g_autoptr(JsonGenerator) generator = json_generator_new();

        json_generator_set_pretty(generator, pretty);
        json_generator_set_root(generator, node);

        g_autofree char *text = json_generator_to_data(generator, NULL);

        for (const char *p = text; *p; p = g_utf8_next_char(p)) {
                gunichar c = g_utf8_get_char(p);

                if (c == '\n' || (c != 0x7f && c < 0x80) ||
                    (c >= 0x80 && is_harmless(c) && output->utf8))
                        g_string_append_unichar(output->buffer, c);
                else if (c < 0x10000)
                        g_string_append_printf(output->buffer, "\\u%04x", c);
                else
                        g_string_append_printf(output->buffer, "\\u%04x\\u%04x",
                                               0xd800 + ((c - 0x10000) >> 10),
                                               0xdc00 + ((c - 0x10000) & 0x3ff));
        }
        g_string_append_c(output->buffer, '\n');
}

int output_flush(Output *output) {
        size_t done = 0;

        while (!output->quiet && output->error == 0 && done < output->buffer->len) {
                ssize_t n =
                        write(output->fd, output->buffer->str + done, output->buffer->len - done);

                if (n >= 0)
                        done += (size_t) n;
                else if (errno != EINTR)
                        output->error = -errno;
        }

        g_string_truncate(output->buffer, 0);
        return output->error;
}
