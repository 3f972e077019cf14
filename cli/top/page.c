#include "cli/top/page.h"

#include "cli/function/columns.h"
#include "cli/output/table.h"

/* The lines around the rows: two of the summary, a blank one, the headings, "N more". */
#define LINES_AROUND 5

static gint64 sum_of(JsonObject *statistics, const char *member) {
        JsonObject *by_key = function_object(statistics, member);
        g_autoptr(GList) keys = by_key ? json_object_get_members(by_key) : NULL;
        gint64 sum = 0;

        for (const GList *key = keys; key; key = key->next)
                sum += function_integer(by_key, key->data, 0);
        return sum;
}

/* "12.3k": four places are enough to read at a glance. The caller's. */
static char *format_rate(const ActivityRow *row, double rate) {
        static const char units[] = { '\0', 'k', 'M', 'G', 'T', 'P', 'E' };
        size_t unit = 0;

        if (row->session_pid == 0 || !row->rates.known)
                return g_strdup("-");
        for (; rate >= 999.5 && unit + 1 < G_N_ELEMENTS(units); unit++)
                rate /= 1000;
        if (unit == 0)
                return g_strdup_printf("%.0f", rate);
        return g_strdup_printf("%.1f%c", rate, units[unit]);
}

static void add_cell(Table *table, Style style, char *text) {
        table_add(table, style, *text ? text : "-");
        g_free(text);
}

static void add_column(Table *table, JsonObject *function, const char *name) {
        const FunctionColumn *column = function_column_read(name);

        add_cell(table, column->style ? column->style(function) : STYLE_PLAIN,
                 column->text(function));
}

static void top_add_row(Table *table, const TopView *view, const ActivityRow *row) {
        JsonObject *known = inventory_find(view->inventory, row->address);
        g_autoptr(JsonObject) none = known ? NULL : json_object_new();
        JsonObject *function = known ? known : none;

        table_add(table, STYLE_PLAIN, row->address);
        add_column(table, function, "driver");
        add_column(table, function, "state");
        add_column(table, function, "holder");
        add_cell(table, STYLE_PLAIN, g_strdup_printf("%" G_GINT64_FORMAT, row->users));
        add_cell(table, STYLE_PLAIN, format_rate(row, row->rates.loads));
        add_cell(table, STYLE_PLAIN, format_rate(row, row->rates.stores));
        add_cell(table, STYLE_PLAIN, format_rate(row, row->rates.bytes));
        add_cell(table, row->violations > 0 ? STYLE_RED : STYLE_PLAIN,
                 g_strdup_printf("%" G_GINT64_FORMAT, row->violations));
        add_column(table, function, "name");
}

static void print_table(Context *context, const TopView *view, const GPtrArray *rows, guint n) {
        static const struct {
                const char *heading;
                bool right;
        } headings[] = {
                { "ADDRESS", false }, { "DRIVER", false }, { "STATE", false },
                { "HOLDER", false },  { "USERS", true },   { "LOADS/S", true },
                { "STORES/S", true }, { "BYTES/S", true }, { "VIOLATIONS", true },
                { "NAME", false },
        };
        g_autoptr(Table) table = table_new(&context->output, G_N_ELEMENTS(headings));

        table_fit(table);
        for (size_t i = 0; i < G_N_ELEMENTS(headings); i++) {
                if (headings[i].right)
                        table_align_right(table, i);
                if (context->legend)
                        table_add(table, STYLE_BOLD, headings[i].heading);
        }
        for (guint i = 0; i < n; i++)
                top_add_row(table, view, rows->pdata[i]);
        table_print(table);
}

static void top_print_line(Context *context, const char *text) {
        size_t columns = output_columns(&context->output);
        g_autofree char *safe = output_escape(&context->output, text);
        g_autofree char *cut =
                columns == 0 ? g_strdup(safe) : output_ellipsize(&context->output, safe, columns);

        output_styled(&context->output, STYLE_PLAIN, cut);
        output_format(&context->output, "\n");
}

static void print_summary(Context *context, const TopView *view) {
        JsonObject *statistics = view->statistics;
        g_autofree char *first = g_strdup_printf(
                "vfwardend %s, enforcement %s: %u functions, %" G_GINT64_FORMAT
                " in use, %" G_GINT64_FORMAT " locked",
                view->inventory->version, view->inventory->enforcement,
                view->inventory->functions->len, function_integer(statistics, "FunctionsInUse", 0),
                function_integer(statistics, "FunctionsLocked", 0));
        g_autofree char *second = g_strdup_printf(
                "%" G_GINT64_FORMAT " I/O sessions, %" G_GINT64_FORMAT " leases, %" G_GINT64_FORMAT
                " inhibitors; %" G_GINT64_FORMAT " violations since the daemon started",
                function_integer(statistics, "Sessions", 0),
                function_integer(statistics, "Leases", 0),
                function_integer(statistics, "Inhibitors", 0), sum_of(statistics, "Violations"));

        top_print_line(context, first);
        top_print_line(context, second);
        top_print_line(context, "");
}

void top_page_print(Context *context, const TopView *view, guint lines) {
        g_autoptr(GPtrArray) rows = activity_sorted(view->activity);
        guint n = rows->len;
        gint64 more;

        if (lines != 0)
                n = MIN(n, lines > LINES_AROUND ? lines - LINES_AROUND : 1);
        more = rows->len - n + view->activity->more;
        if (context->legend)
                print_summary(context, view);
        print_table(context, view, rows, n);
        if (more > 0) {
                g_autofree char *text = g_strdup_printf("%" G_GINT64_FORMAT " more", more);

                top_print_line(context, text);
        }
}

/* --- JSON */

static JsonObject *session_to_json(const ActivityRow *row) {
        JsonObject *session = json_object_new();

        json_object_set_int_member(session, "Pid", row->session_pid);
        json_object_set_int_member(session, "Uid", row->session_uid);
        if (row->rates.known) {
                json_object_set_double_member(session, "LoadsPerSecond", row->rates.loads);
                json_object_set_double_member(session, "StoresPerSecond", row->rates.stores);
                json_object_set_double_member(session, "BytesPerSecond", row->rates.bytes);
        }
        return session;
}

static JsonObject *row_to_json(const ActivityRow *row, const Inventory *inventory) {
        JsonObject *function = inventory_find(inventory, row->address);
        JsonObject *object = json_object_new();

        json_object_set_string_member(object, "Address", row->address);
        json_object_set_string_member(object, "Driver",
                                      function ? function_string(function, "Driver") : "");
        json_object_set_string_member(object, "State",
                                      function ? function_string(function, "State") : "");
        json_object_set_int_member(object, "Users", row->users);
        json_object_set_int_member(object, "Violations", row->violations);
        if (row->session_pid != 0)
                json_object_set_object_member(object, "Session", session_to_json(row));
        return object;
}

void top_page_print_json(Context *context, const TopView *view) {
        static const char *const numbers[] = { "FunctionsInUse", "FunctionsLocked", "Sessions",
                                               "Leases", "Inhibitors" };
        g_autoptr(GPtrArray) rows = activity_sorted(view->activity);
        g_autoptr(JsonObject) object = json_object_new();
        g_autoptr(JsonNode) node = json_node_init_object(json_node_alloc(), object);
        JsonArray *functions = json_array_new();

        json_object_set_string_member(object, "Version", view->inventory->version);
        json_object_set_string_member(object, "Enforcement", view->inventory->enforcement);
        json_object_set_int_member(object, "FunctionCount", view->inventory->functions->len);
        for (size_t i = 0; i < G_N_ELEMENTS(numbers); i++)
                json_object_set_int_member(object, numbers[i],
                                           function_integer(view->statistics, numbers[i], 0));
        json_object_set_int_member(object, "Violations", sum_of(view->statistics, "Violations"));
        for (guint i = 0; i < rows->len; i++)
                json_array_add_object_element(functions,
                                              row_to_json(rows->pdata[i], view->inventory));
        json_object_set_array_member(object, "Functions", functions);
        output_json(&context->output, node, true);
}
