#include "cli/wait/redraw.h"

#include <stdint.h>
#include <unistd.h>

/* Used where the terminal does not tell its width. */
#define COLUMNS_USUAL 80

void redraw_init(Redraw *redraw, Output *output) {
        const char *term = g_getenv("TERM");

        *redraw = (Redraw){
                .output = output,
                .terminal = isatty(output->fd) && term && *term && !g_str_equal(term, "dumb"),
        };
}

/* ECMA-48: CUU, 8.3.22, and ED, 8.3.39. */
void redraw_erase(Redraw *redraw) {
        if (redraw->terminal && redraw->lines > 0)
                output_format(redraw->output, "\x1b[%uA\x1b[J", redraw->lines);
        redraw->lines = 0;
}

/* How much of the text there is room for; SIZE_MAX where nothing is cut. */
static size_t room(const Redraw *redraw, const char *end) {
        size_t columns = output_columns(redraw->output), taken = output_width(end);

        if (!redraw->terminal)
                return SIZE_MAX;
        if (columns == 0)
                columns = COLUMNS_USUAL;
        return columns > taken ? columns - taken : 0;
}

void redraw_line(Redraw *redraw, Style style, const char *text, const char *end) {
        g_autofree char *safe = output_escape(redraw->output, text);
        g_autofree char *cut = output_ellipsize(redraw->output, safe, room(redraw, end));
        g_autofree char *whole = g_strconcat(cut, end, NULL);

        output_styled(redraw->output, style, whole);
        output_format(redraw->output, "\n");
        redraw->lines++;
}

void redraw_keep(Redraw *redraw) {
        redraw->lines = 0;
}
