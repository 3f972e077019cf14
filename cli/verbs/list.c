#include "cli/cleanup.h"
#include "cli/client.h"
#include "cli/table.h"
#include "cli/verbs.h"

/* "-" where there is nothing: a blank cell would move the next one to its place for the eye, and
 * for awk. */
static void list_add(Table *table, Style style, const char *text) {
        table_add(table, *text ? style : STYLE_PLAIN, *text ? text : "-");
}

static void add_group(Table *table, JsonObject *function) {
        gint64 group = function_integer(function, "IommuGroup", -1);
        g_autofree char *text =
                group < 0 ? g_strdup("-") : g_strdup_printf("%" G_GINT64_FORMAT, group);

        table_add(table, STYLE_PLAIN, text);
}

static void list_add_lock(Table *table, JsonObject *function) {
        g_autofree char *reasons = function_joined(function, "LockReasons", ",");

        /* A lock without a reason would be a fault of the daemon's: show it. */
        list_add(table, STYLE_YELLOW,
                 !*reasons && function_flag(function, "Locked") ? "yes" : reasons);
}

static void list_add_state(Table *table, JsonObject *function) {
        const char *state = function_string(function, "State");
        bool tainted = function_flag(function, "Tainted");
        g_autoptr(GString) text = g_string_new(NULL);

        if (function_flag(function, "InUse"))
                g_string_append(text, "in-use");
        if (*state && !g_str_equal(state, "present"))
                g_string_append_printf(text, "%s%s", text->len > 0 ? "," : "", state);
        if (tainted)
                g_string_append(text, text->len > 0 ? ",tainted" : "tainted");
        list_add(table, tainted ? STYLE_RED : STYLE_GREEN, text->str);
}

static void list_add_row(Table *table, JsonObject *function, const char *branch) {
        g_autofree char *name = function_name(function);

        table_add_prefixed(table, branch, function_is(function, "pf") ? STYLE_BOLD : STYLE_PLAIN,
                           function_string(function, "Address"));
        list_add(table, STYLE_PLAIN, function_string(function, "Kind"));
        list_add(table, STYLE_PLAIN, function_string(function, "Driver"));
        add_group(table, function);
        list_add_lock(table, function);
        list_add_state(table, function);
        list_add(table, STYLE_PLAIN, name);
}

/* The VFs of each PF, in the order of the inventory: PF -> GPtrArray of JsonObject, all
 * borrowed. */
static GHashTable *collect_children(const Inventory *inventory) {
        GHashTable *children =
                g_hash_table_new_full(NULL, NULL, NULL, (GDestroyNotify) g_ptr_array_unref);

        for (guint i = 0; i < inventory->functions->len; i++) {
                JsonObject *function = g_ptr_array_index(inventory->functions, i);
                JsonObject *parent = inventory_parent(inventory, function);
                GPtrArray *siblings;

                if (!parent)
                        continue;
                siblings = g_hash_table_lookup(children, parent);
                if (!siblings) {
                        siblings = g_ptr_array_new();
                        g_hash_table_insert(children, parent, siblings);
                }
                g_ptr_array_add(siblings, function);
        }
        return children;
}

static bool list_is_wanted(const Context *context, JsonObject *function) {
        return !context->sriov || !function_is(function, "plain");
}

static void print_tree(Context *context, const Inventory *inventory) {
        static const char *const headings[] = { "ADDRESS", "KIND",  "DRIVER", "GROUP",
                                                "LOCK",    "STATE", "NAME" };
        const char *branch = context->output.utf8 ? "├─" : "|-";
        const char *last_branch = context->output.utf8 ? "└─" : "`-";
        g_autoptr(Table) table = table_new(&context->output, G_N_ELEMENTS(headings));
        g_autoptr(GHashTable) children = collect_children(inventory);

        table_align_right(table, 3);
        for (size_t i = 0; context->legend && i < G_N_ELEMENTS(headings); i++)
                table_add(table, STYLE_BOLD, headings[i]);

        for (guint i = 0; i < inventory->functions->len; i++) {
                JsonObject *function = g_ptr_array_index(inventory->functions, i);
                GPtrArray *vfs = g_hash_table_lookup(children, function);

                if (inventory_parent(inventory, function) || !list_is_wanted(context, function))
                        continue;
                list_add_row(table, function, "");
                for (guint j = 0; vfs && j < vfs->len; j++)
                        list_add_row(table, g_ptr_array_index(vfs, j),
                                     j + 1 < vfs->len ? branch : last_branch);
        }
        table_print(table);
}

static void list_print_json(Context *context, const Inventory *inventory) {
        g_autoptr(JsonNode) node = json_node_new(JSON_NODE_ARRAY);
        JsonArray *array = json_array_new();

        json_node_take_array(node, array);
        for (guint i = 0; i < inventory->functions->len; i++) {
                JsonObject *function = g_ptr_array_index(inventory->functions, i);

                if (list_is_wanted(context, function))
                        json_array_add_object_element(array, json_object_ref(function));
        }
        output_json(&context->output, node, true);
}

static ExitCode run_list(Context *context, char **arguments) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        g_autoptr(Inventory) inventory = NULL;
        int r;

        r = client_describe(context, 0, &error, &inventory);
        if (r < 0)
                return client_fail(context, r, &error, "Cannot list the functions");

        if (context->json)
                list_print_json(context, inventory);
        else
                print_tree(context, inventory);
        return EXIT_CODE_DONE;
}

static const Option list_options[] = {
        OPTION_SWITCH("sriov", sriov, "only physical and virtual functions"),
        { NULL },
};

const Verb verb_list = {
        .name = "list",
        .arguments = "",
        .run = run_list,
        .help = "All PCI functions, VFs below their physical one",
        .options = list_options,
};
