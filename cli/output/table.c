#include "cli/output/table.h"

#include <assert.h>

typedef struct Cell {
        char *prefix;
        char *text;
        Style style;
        size_t width;
} Cell;

struct Table {
        Output *output;
        size_t n_columns;
        size_t *widths;
        bool *right;
        bool fits; /* into the terminal */
        GArray *cells;
};

static void cell_clear(void *data) {
        Cell *cell = data;

        g_free(cell->prefix);
        g_free(cell->text);
}

Table *table_new(Output *output, size_t n_columns) {
        Table *table = g_new(Table, 1);

        *table = (Table){
                .output = output,
                .n_columns = n_columns,
                .widths = g_new0(size_t, n_columns),
                .right = g_new0(bool, n_columns),
                .cells = g_array_new(FALSE, FALSE, sizeof(Cell)),
        };
        g_array_set_clear_func(table->cells, cell_clear);
        return table;
}

Table *table_free(Table *table) {
        if (!table)
                return NULL;

        g_array_unref(table->cells);
        g_free(table->widths);
        g_free(table->right);
        g_free(table);
        return NULL;
}

void table_align_right(Table *table, size_t column) {
        assert(column < table->n_columns);
        table->right[column] = true;
}

void table_fit(Table *table) {
        table->fits = !table->output->full;
}

/* What is left of a column that is cut, at least. */
#define CUT_MIN 4

static size_t total_width(const Table *table) {
        size_t total = 2 * (table->n_columns - 1);

        for (size_t i = 0; i < table->n_columns; i++)
                total += table->widths[i];
        return total;
}

/* The widest column but the first. */
static size_t *widest_column(const Table *table) {
        size_t *widest = NULL;

        for (size_t i = 1; i < table->n_columns; i++)
                if (!widest || table->widths[i] > *widest)
                        widest = &table->widths[i];
        return widest;
}

static void narrow(Table *table) {
        size_t columns = table->fits ? output_columns(table->output) : 0;
        size_t *widest;

        while (columns > 0 && total_width(table) > columns &&
               (widest = widest_column(table)) != NULL && *widest > CUT_MIN)
                (*widest)--;
}

void table_add_prefixed(Table *table, const char *prefix, Style style, const char *text) {
        Cell cell = {
                .prefix = g_strdup(prefix),
                .text = output_escape(table->output, text),
                .style = style,
        };
        size_t column = table->cells->len % table->n_columns;

        cell.width = output_width(prefix) + output_width(cell.text);
        table->widths[column] = MAX(table->widths[column], cell.width);
        g_array_append_val(table->cells, cell);
}

void table_add(Table *table, Style style, const char *text) {
        table_add_prefixed(table, "", style, text);
}

/* What of the cell stands in its column; the caller's. */
static char *cell_text(const Table *table, const Cell *cell, size_t column) {
        size_t prefix = output_width(cell->prefix);

        if (cell->width <= table->widths[column])
                return g_strdup(cell->text);
        return output_ellipsize(table->output, cell->text, table->widths[column] - prefix);
}

void table_print(Table *table) {
        assert(table->cells->len % table->n_columns == 0);

        narrow(table);
        for (guint i = 0; i < table->cells->len; i++) {
                const Cell *cell = &g_array_index(table->cells, Cell, i);
                size_t column = i % table->n_columns;
                bool last = column == table->n_columns - 1;
                g_autofree char *text = cell_text(table, cell, column);
                size_t width = MIN(cell->width, table->widths[column]);
                int padding = (int) (table->widths[column] - width);

                if (column > 0)
                        output_format(table->output, "  ");
                if (table->right[column])
                        output_format(table->output, "%*s", padding, "");
                output_format(table->output, "%s", cell->prefix);
                output_styled(table->output, cell->style, text);
                if (last)
                        output_format(table->output, "\n");
                else if (!table->right[column])
                        output_format(table->output, "%*s", padding, "");
        }
}
