#include "cli/cleanup.h"
#include "cli/client.h"
#include "cli/function/columns.h"
#include "cli/function/tree.h"
#include "cli/output/report.h"
#include "cli/output/table.h"
#include "cli/suggest.h"
#include "cli/verbs.h"

/* What is printed, and how. */
typedef struct Listing {
        Context *context;
        GPtrArray *functions;       /* of JsonObject, borrowed: those that are shown */
        GPtrArray *columns;         /* of FunctionColumn */
        const FunctionColumn *sort; /* NULL: by address, VFs below their PF */
} Listing;

static void listing_clear(Listing *listing) {
        g_clear_pointer(&listing->functions, g_ptr_array_unref);
        g_clear_pointer(&listing->columns, g_ptr_array_unref);
}

static int compare_rows(gconstpointer a, gconstpointer b, gpointer column) {
        return function_column_compare(column, *(JsonObject *const *) a, *(JsonObject *const *) b);
}

static void listing_fill(Listing *listing, const Inventory *inventory) {
        listing->functions = g_ptr_array_new();
        for (guint i = 0; i < inventory->functions->len; i++)
                if (function_filter_shows(&listing->context->filter,
                                          inventory->functions->pdata[i]))
                        g_ptr_array_add(listing->functions, inventory->functions->pdata[i]);
        if (listing->sort)
                g_ptr_array_sort_with_data(listing->functions, compare_rows,
                                           (gpointer) listing->sort);
}

/* "-" where there is nothing: a blank cell would move the next one to its place for the eye, and
 * for awk. */
static void add_row(const Listing *listing, Table *table, JsonObject *function,
                    const char *branch) {
        for (guint i = 0; i < listing->columns->len; i++) {
                const FunctionColumn *column = listing->columns->pdata[i];
                g_autofree char *text = column->text(function);
                Style style = column->style && *text ? column->style(function) : STYLE_PLAIN;

                table_add_prefixed(table, i == 0 ? branch : "", style, *text ? text : "-");
        }
}

typedef struct TableRows {
        const Listing *listing;
        Table *table;
} TableRows;

static void visit_row(void *context, JsonObject *function, const char *branch) {
        const TableRows *rows = context;

        add_row(rows->listing, rows->table, function, branch);
}

static void add_tree(const Listing *listing, const Inventory *inventory, Table *table) {
        TableRows rows = { listing, table };

        tree_walk(inventory, listing->functions,
                  listing->context->tree ? tree_parent_by_topology : inventory_parent,
                  listing->context->output.utf8, visit_row, &rows);
}

static void list_print(const Listing *listing, const Inventory *inventory) {
        g_autoptr(Table) table = table_new(&listing->context->output, listing->columns->len);

        table_fit(table);
        for (guint i = 0; i < listing->columns->len; i++) {
                const FunctionColumn *column = listing->columns->pdata[i];

                if (column->right)
                        table_align_right(table, i);
                if (listing->context->legend)
                        table_add(table, STYLE_BOLD, column->heading);
        }
        if (!listing->sort)
                add_tree(listing, inventory, table);
        for (guint i = 0; listing->sort && i < listing->functions->len; i++)
                add_row(listing, table, listing->functions->pdata[i], "");
        table_print(table);
}

static void list_print_json(const Listing *listing) {
        g_autoptr(JsonNode) node = json_node_new(JSON_NODE_ARRAY);
        JsonArray *array = json_array_new();

        json_node_take_array(node, array);
        for (guint i = 0; i < listing->functions->len; i++)
                json_array_add_object_element(array, json_object_ref(listing->functions->pdata[i]));
        output_json(&listing->context->output, node, true);
}

static ExitCode run_list(Context *context, char **arguments) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        _cleanup_(listing_clear) Listing listing = { .context = context };
        const char *usual = context->tree ? FUNCTION_COLUMNS_TREE : FUNCTION_COLUMNS_DEFAULT;
        g_autoptr(Inventory) inventory = NULL;
        int r;

        listing.columns = function_columns_read(context->columns ? context->columns : usual, usual);
        if (!listing.columns)
                return EXIT_CODE_USAGE;
        if (context->tree && context->sort) {
                print_error("--tree and --sort exclude each other");
                return EXIT_CODE_USAGE;
        }
        if (context->sort && !(listing.sort = function_column_read(context->sort)))
                return EXIT_CODE_USAGE;
        r = client_describe(context, 0, &error, &inventory);
        if (r < 0)
                return client_fail(context, r, &error, "Cannot list the functions");
        listing_fill(&listing, inventory);
        if (context->json)
                list_print_json(&listing);
        else
                list_print(&listing, inventory);
        return EXIT_CODE_DONE;
}

#define KINDS  "pf|vf|detached-vf|plain"
#define STATES "free|in-use|locked|tainted|present|unplug-requested|draining|removing"

/* A condition that no function can meet is a mistake: it must not look as if there were none. */
static bool read_words(const char *option, const char *known, const char *value, const char **ret) {
        /* Of "" it makes no word at all. */
        g_auto(GStrv) each = g_strsplit(*value ? value : ",", ",", -1);
        g_auto(GStrv) names = g_strsplit(known, "|", -1);

        for (char **word = each; *word; word++) {
                g_autofree char *question = NULL;

                if (strpbrk(*word, "*?") || g_strv_contains((const char *const *) names, *word))
                        continue;
                question = suggest_question(suggest_nearest(*word, (const char *const *) names));
                print_error("--%s does not know '%s'%s", option, *word, question);
                return false;
        }
        *ret = value;
        return true;
}

static bool read_kind(Context *context, const char *value) {
        return read_words("kind", KINDS, value, &context->filter.kind);
}

static bool read_state(Context *context, const char *value) {
        return read_words("state", STATES, value, &context->filter.state);
}

static bool read_numa(Context *context, const char *value) {
        if (value[strspn(value, "0123456789-,*?")] != '\0' || *value == '\0') {
                print_error("--numa takes numbers of NUMA nodes, and '-' for none, not '%s'",
                            value);
                return false;
        }
        context->filter.numa = value;
        return true;
}

static const Option list_options[] = {
        OPTION_SWITCH("sriov", filter.sriov, "only physical and virtual functions"),
        { .name = "kind",
          .value = "KIND",
          .offers = KINDS,
          .read = read_kind,
          .help = "only those of this kind" },
        { .name = "driver",
          .value = "DRIVER",
          .member = offsetof(Context, filter.driver),
          .help = "only those on this driver; \"-\": on none" },
        { .name = "state",
          .value = "STATE",
          .offers = STATES,
          .read = read_state,
          .help = "only those in this state" },
        OPTION_TEXT("holder", "WHO", filter.holder,
                    "only those that this virtual machine, unit, command or pid uses"),
        { .name = "numa",
          .value = "NODE",
          .read = read_numa,
          .help = "only those near this NUMA node" },
        OPTION_SWITCH("tree", tree, "below the bridges and ports that they are behind"),
        OPTION_TEXT("columns", "COLUMN,...", columns, "these columns; \"+holder\" adds one"),
        { .name = "sort",
          .value = "COLUMN",
          .offers = "address|kind|driver|group|numa|slot|id|link|serial|interfaces|disks|lock|"
                    "state|holder|name",
          .member = offsetof(Context, sort),
          .help = "sort by this column" },
        { NULL },
};

const Verb verb_list = {
        .name = "list",
        .arguments = "",
        .run = run_list,
        .help = "All PCI functions, VFs below their physical one",
        .options = list_options,
        .pages = true,
};
