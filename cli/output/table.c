#include "cli/output/table.h"

#include <assert.h>

typedef struct Cell {
        const char *prefix;
        char *text;
        Style style;
        size_t width;
} Cell;

struct Table {
        Output *output;
        size_t n_columns;
        size_t *widths;
        bool *right;
        GArray *cells;
};

static void cell_clear(void *data) {
        Cell *cell = data;

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

void table_add_prefixed(Table *table, const char *prefix, Style style, const char *text) {
        Cell cell = {
                .prefix = prefix,
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

void table_print(Table *table) {
        assert(table->cells->len % table->n_columns == 0);

        for (guint i = 0; i < table->cells->len; i++) {
                const Cell *cell = &g_array_index(table->cells, Cell, i);
                size_t column = i % table->n_columns;
                bool last = column == table->n_columns - 1;
                int padding = (int) (table->widths[column] - cell->width);

                if (column > 0)
                        output_format(table->output, "  ");
                if (table->right[column])
                        output_format(table->output, "%*s", padding, "");
                output_format(table->output, "%s", cell->prefix);
                output_styled(table->output, cell->style, cell->text);
                if (last)
                        output_format(table->output, "\n");
                else if (!table->right[column])
                        output_format(table->output, "%*s", padding, "");
        }
}
