/* table.h: rows of cells in aligned columns.
 *
 * Owns the cells until it is printed. Columns are as wide as their widest cell is on the terminal,
 * two blanks apart; nothing is wrapped, and no blanks trail. Nothing is cut but in a table that is
 * to fit into the terminal. Cells are escaped when they are added. */
#pragma once

#include "cli/output/output.h"

typedef struct Table Table;

/* A table of `n_columns` for `output`, which must outlive it. */
Table *table_new(Output *output, size_t n_columns);
Table *table_free(Table *table);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Table, table_free)

/* Numbers read better so. */
void table_align_right(Table *table, size_t column);

/* Where the output is a terminal that is too narrow, and is not wanted in full, the widest columns
 * are cut, with an ellipsis, never the first. */
void table_fit(Table *table);

/* Adds the next cell of the row, or the first of the next row. */
void table_add(Table *table, Style style, const char *text);

/* Adds a cell that starts with `prefix`, of this program, which is not coloured. */
void table_add_prefixed(Table *table, const char *prefix, Style style, const char *text);

/* Adds all rows to the output. The last row must be full. */
void table_print(Table *table);
