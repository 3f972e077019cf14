/* redraw.h: a block of lines that is drawn again in its place.
 *
 * Owns how many lines of the terminal the block has. Always holds: on a terminal no line is wider
 * than it, so as many lines go up as were drawn; anywhere else nothing is ever erased. */
#pragma once

#include "cli/output/output.h"

typedef struct Redraw {
        Output *output;
        bool terminal; /* the output is one that can be drawn on */
        unsigned lines;
} Redraw;

/* `output` outlives it. */
void redraw_init(Redraw *redraw, Output *output);

/* Begins the block anew. Does nothing where the output is no terminal. */
void redraw_erase(Redraw *redraw);

/* Adds one line: `text`, which may come from anywhere and is cut where the terminal is too narrow,
 * and `end`, which is not. */
void redraw_line(Redraw *redraw, Style style, const char *text, const char *end);

/* The block stays as it is; what comes next is another one. */
void redraw_keep(Redraw *redraw);
