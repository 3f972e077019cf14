/* The verbs that list who holds functions: users, inhibitors. */
#include "cli/cleanup.h"
#include "cli/client.h"
#include "cli/function/subject.h"
#include "cli/holders.h"
#include "cli/output/table.h"
#include "cli/value.h"
#include "cli/verbs.h"

typedef struct Column {
        const char *heading;
        const char *member;
        bool right;
} Column;

static const Column user_columns[] = {
        { "ADDRESS", "Address", false },
        { "PID", "Pid", true },
        { "UID", "Uid", true },
        { "SINCE", "Since", false },
        { "MACHINE", "Machine", false },
        { "UNIT", "Unit", false },
        { "BROKERED", "Brokered", false },
        { "COMMAND", "Command", false },
};

static const Column inhibitor_columns[] = {
        { "ADDRESS", "Address", false }, { "WHAT", "What", false }, { "WHO", "Who", false },
        { "PID", "Pid", true },          { "UID", "Uid", true },    { "MODE", "Mode", false },
        { "WHY", "Why", false },
};

/* The same, of a daemon that knows no modes. */
static const Column older_inhibitor_columns[] = {
        { "ADDRESS", "Address", false }, { "WHAT", "What", false }, { "WHO", "Who", false },
        { "PID", "Pid", true },          { "UID", "Uid", true },    { "WHY", "Why", false },
};

/* As in list: "-" where there is nothing, so that words stay in place. A pid of 0 says that nobody
 * was found. */
static char *cell(JsonObject *holder, const char *member) {
        JsonNode *value = json_object_get_member(holder, member);
        g_autofree char *text = NULL;
        bool nothing;

        if (g_str_equal(member, "Since")) {
                text = value_format_time(json_node_get_int(value));
                nothing = !text;
        } else if (g_str_equal(member, "Brokered")) {
                text = g_strdup("yes");
                nothing = !json_node_get_boolean(value);
        } else {
                text = value_format("", value);
                nothing = json_node_get_value_type(value) == G_TYPE_STRING
                                  ? !*json_node_get_string(value)
                                  : g_str_equal(member, "Pid") && json_node_get_int(value) == 0;
        }
        return nothing ? g_strdup("-") : g_steal_pointer(&text);
}

static void print(Context *context, JsonArray *holders, const Column *columns, size_t n_columns) {
        g_autoptr(Table) table = table_new(&context->output, n_columns);

        table_fit(table);

        for (size_t i = 0; i < n_columns; i++) {
                if (columns[i].right)
                        table_align_right(table, i);
                if (context->legend)
                        table_add(table, STYLE_BOLD, columns[i].heading);
        }
        for (guint row = 0; row < json_array_get_length(holders); row++) {
                JsonObject *holder = json_array_get_object_element(holders, row);

                for (size_t i = 0; i < n_columns; i++) {
                        g_autofree char *text = cell(holder, columns[i].member);

                        table_add(table, STYLE_PLAIN, text);
                }
        }
        table_print(table);
}

static void users_print_json(Context *context, JsonArray *holders) {
        g_autoptr(JsonNode) node = json_node_init_array(json_node_alloc(), holders);

        output_json(&context->output, node, true);
}

/* Those of all functions if there are no addresses. Returns a negative errno, with the address
 * noted that it is about. */
static int list_users_of(Context *context, const GPtrArray *addresses, sd_bus_error *ret_error,
                         JsonArray **ret) {
        g_autoptr(JsonArray) all = json_array_new();

        if (addresses->len == 0)
                return holders_list_users(context, "", 0, ret_error, ret);
        for (guint i = 0; i < addresses->len; i++) {
                g_autoptr(JsonArray) users = NULL;
                int r;

                subject_note(context, addresses->pdata[i]);
                r = holders_list_users(context, addresses->pdata[i], 0, ret_error, &users);
                if (r < 0)
                        return r;
                for (guint j = 0; j < json_array_get_length(users); j++)
                        json_array_add_element(all, json_array_dup_element(users, j));
        }
        *ret = g_steal_pointer(&all);
        return 0;
}

static char *join_addresses(const GPtrArray *addresses) {
        g_autoptr(GString) text = g_string_new(NULL);

        for (guint i = 0; i < addresses->len; i++)
                g_string_append_printf(text, "%s%s",
                                       i == 0                   ? ""
                                       : i + 1 < addresses->len ? ", "
                                                                : " and ",
                                       (const char *) addresses->pdata[i]);
        return g_string_free(g_steal_pointer(&text), FALSE);
}

/* Kinds of use by programs that drive a function without VFIO. */
static const char *const program_kinds[] = { "uio",  "resource", "mapped", "config",
                                             "vdpa", "mdev",     NULL };

static bool print_programs_of(Context *context, JsonObject *function) {
        JsonArray *uses = function_array(function, "Uses");
        bool any = false;

        for (guint i = 0; uses && i < json_array_get_length(uses); i++) {
                JsonObject *use = json_array_get_object_element(uses, i);

                g_autofree char *text =
                        output_escape(&context->output, function_string(use, "Text"));

                if (!g_strv_contains(program_kinds, function_string(use, "Kind")))
                        continue;
                output_format(&context->output, "%s: %s\n", function_string(function, "Address"),
                              text);
                any = true;
        }
        return any;
}

/* Of all functions if there are no addresses. Returns whether there are any; a daemon that is too
 * old to be asked knows of none. */
static bool print_programs(Context *context, GPtrArray *addresses) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        g_autoptr(Inventory) inventory = NULL;
        bool any = false;

        if (client_describe(context, 0, &error, &inventory) < 0)
                return false;
        for (guint i = 0; i < inventory->functions->len; i++) {
                JsonObject *function = inventory->functions->pdata[i];
                const char *address = function_string(function, "Address");

                if (addresses->len == 0 ||
                    g_ptr_array_find_with_equal_func(addresses, address, g_str_equal, NULL))
                        any |= print_programs_of(context, function);
        }
        return any;
}

static ExitCode run_users(Context *context, char **arguments) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        g_autoptr(GPtrArray) addresses = NULL;
        g_autofree char *names = NULL;
        g_autoptr(JsonArray) users = NULL;
        ExitCode code = subject_find_all(context, arguments, &addresses);
        bool any;
        int r;

        if (code != EXIT_CODE_DONE)
                return code;
        r = list_users_of(context, addresses, &error, &users);
        if (r < 0 && addresses->len > 0)
                return client_fail(context, r, &error, "Cannot tell who uses %s", context->address);
        if (r < 0)
                return client_fail(context, r, &error, "Cannot list the users");
        names = join_addresses(addresses);

        if (context->json) {
                users_print_json(context, users);
                return EXIT_CODE_DONE;
        }
        if (json_array_get_length(users) > 0)
                print(context, users, user_columns, G_N_ELEMENTS(user_columns));
        any = print_programs(context, addresses) || json_array_get_length(users) > 0;
        if (!any && context->legend && addresses->len > 0)
                output_format(&context->output, "Nobody uses %s.\n", names);
        else if (!any && context->legend)
                output_format(&context->output, "No function is in use.\n");
        return EXIT_CODE_DONE;
}

const Verb verb_users = {
        .name = "users",
        .arguments = "[ADDRESS...]",
        .max = INT_MAX,
        .run = run_users,
        .help = "The processes that have functions open",
        .pages = true,
};

static void print_inhibitors(Context *context, JsonArray *inhibitors) {
        if (json_object_has_member(json_array_get_object_element(inhibitors, 0), "Mode"))
                print(context, inhibitors, inhibitor_columns, G_N_ELEMENTS(inhibitor_columns));
        else
                print(context, inhibitors, older_inhibitor_columns,
                      G_N_ELEMENTS(older_inhibitor_columns));
}

static ExitCode run_inhibitors(Context *context, char **arguments) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        g_autoptr(JsonArray) inhibitors = NULL;
        int r;

        r = holders_list_inhibitors(context, 0, &error, &inhibitors);
        if (r < 0)
                return client_fail(context, r, &error, "Cannot list the inhibitors");

        if (context->json)
                users_print_json(context, inhibitors);
        else if (json_array_get_length(inhibitors) > 0)
                print_inhibitors(context, inhibitors);
        else if (context->legend)
                output_format(&context->output, "There are no inhibitors.\n");
        return EXIT_CODE_DONE;
}

const Verb verb_inhibitors = {
        .name = "inhibitors",
        .arguments = "",
        .run = run_inhibitors,
        .help = "The inhibitors of operations",
        .pages = true,
};
