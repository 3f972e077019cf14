/* screen.h: the terminal as long as a table on it is drawn again and again.
 *
 * Owns the terminal's modes and its second screen. Always holds: after screen_leave() the terminal
 * is as it was, with what stood on it before. */
#pragma once

#include "cli/output/output.h"

#include <termios.h>

typedef struct Screen {
        Output *output;
        bool entered;
        struct termios modes; /* of standard input before */
} Screen;

/* Whether standard input and the output are a terminal that can be drawn on. */
bool screen_possible(const Output *output);

/* Keys come one by one from here on, and are not shown. Returns 0 or a negative errno. */
int screen_enter(Screen *screen, Output *output);
void screen_leave(Screen *screen);

/* Begins the table anew. */
void screen_clear(Screen *screen);

/* How many lines there is room for. */
guint screen_lines(const Screen *screen);
