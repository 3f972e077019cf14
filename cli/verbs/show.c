#include "cli/cleanup.h"
#include "cli/client.h"
#include "cli/function/page.h"
#include "cli/function/subject.h"
#include "cli/holders.h"
#include "cli/verbs.h"

/* What the daemon says of all functions, asked once. */
typedef struct Shown {
        Inventory *inventory;
        JsonArray *users, *inhibitors;
} Shown;

static void shown_clear(Shown *shown) {
        inventory_free(shown->inventory);
        g_clear_pointer(&shown->users, json_array_unref);
        g_clear_pointer(&shown->inhibitors, json_array_unref);
}

static JsonNode *show_make_json(const Shown *shown, JsonObject *function) {
        const char *address = function_string(function, "Address");

        json_object_set_array_member(function, "Users", holders_at(shown->users, address));
        json_object_set_array_member(function, "Inhibitors",
                                     holders_at(shown->inhibitors, address));
        return json_node_init_object(json_node_alloc(), function);
}

/* One function is an object, several are an array. */
static void show_print_json(Context *context, const Shown *shown, const GPtrArray *functions) {
        g_autoptr(JsonNode) all = NULL;
        JsonArray *array = NULL;

        if (functions->len == 1)
                all = show_make_json(shown, functions->pdata[0]);
        else {
                array = json_array_new();
                all = json_node_new(JSON_NODE_ARRAY);
                json_node_take_array(all, array);
                for (guint i = 0; i < functions->len; i++)
                        json_array_add_element(array, show_make_json(shown, functions->pdata[i]));
        }
        output_json(&context->output, all, true);
}

static void show_print(Context *context, const Shown *shown, const GPtrArray *functions) {
        for (guint i = 0; i < functions->len; i++) {
                const char *address = function_string(functions->pdata[i], "Address");
                g_autoptr(JsonArray) users = holders_at(shown->users, address);
                g_autoptr(JsonArray) inhibitors = holders_at(shown->inhibitors, address);

                if (i > 0)
                        output_format(&context->output, "\n");
                function_page_print(&context->output, functions->pdata[i], users, inhibitors);
        }
}

/* Returns 0 with the functions at the addresses, borrowed; or -ENXIO with the address noted that
 * there is no function at. */
static int find_functions(Context *context, const Shown *shown, const GPtrArray *addresses,
                          GPtrArray **ret) {
        g_autoptr(GPtrArray) functions = g_ptr_array_new();

        for (guint i = 0; i < addresses->len; i++) {
                JsonObject *function = inventory_find(shown->inventory, addresses->pdata[i]);

                if (!function) {
                        subject_note(context, addresses->pdata[i]);
                        return -ENXIO;
                }
                g_ptr_array_add(functions, function);
        }
        *ret = g_steal_pointer(&functions);
        return 0;
}

static ExitCode run_show(Context *context, char **arguments) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        _cleanup_(shown_clear) Shown shown = { 0 };
        g_autoptr(GPtrArray) addresses = NULL, functions = NULL;
        ExitCode code = subject_find_all(context, arguments, &addresses);
        int r;

        if (code != EXIT_CODE_DONE)
                return code;
        r = client_describe(context, 0, &error, &shown.inventory);
        if (r >= 0)
                r = holders_list_both(context, 0, &error, &shown.users, &shown.inhibitors);
        if (r < 0)
                return client_fail(context, r, &error, "Cannot show %s", context->address);
        r = find_functions(context, &shown, addresses, &functions);
        if (r < 0) {
                error = SD_BUS_ERROR_MAKE_CONST("org.vfwarden1.Error.NoSuchFunction",
                                                "there is no such PCI function");
                return client_fail(context, r, &error, "Cannot show %s", context->address);
        }
        if (context->json)
                show_print_json(context, &shown, functions);
        else
                show_print(context, &shown, functions);
        return EXIT_CODE_DONE;
}

const Verb verb_show = {
        .name = "show",
        .arguments = "ADDRESS...",
        .min = 1,
        .max = INT_MAX,
        .run = run_show,
        .help = "Everything known about a function",
        .pages = true,
};
