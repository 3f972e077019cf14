#include "cli/cleanup.h"
#include "cli/client.h"
#include "cli/holders.h"
#include "cli/output/table.h"
#include "cli/output/words.h"
#include "cli/value.h"
#include "cli/verbs.h"

/* The verbs that are about the daemon, not about a function: status, release-all, reload. */

static const struct {
        const char *member; /* of the JSON document */
        const char *label;
        const char *kind; /* counts functions of this kind, */
        const char *flag; /* or those with this flag; of neither: all */
        Style style;      /* where it is not 0 */
} counts[] = {
        { "FunctionCount", "Functions", NULL, NULL, STYLE_PLAIN },
        { "PhysicalFunctionCount", "Physical functions", "pf", NULL, STYLE_PLAIN },
        { "VirtualFunctionCount", "Virtual functions", "vf", NULL, STYLE_PLAIN },
        { "DetachedVirtualFunctionCount", "Detached VFs", "detached-vf", NULL, STYLE_PLAIN },
        { "InUseCount", "In use", NULL, "InUse", STYLE_GREEN },
        { "LockedCount", "Locked", NULL, "Locked", STYLE_YELLOW },
        { "TaintedCount", "Tainted", NULL, "Tainted", STYLE_RED },
};

static unsigned count(const Inventory *inventory, const char *kind, const char *flag) {
        unsigned n = 0;

        for (guint i = 0; i < inventory->functions->len; i++) {
                JsonObject *function = g_ptr_array_index(inventory->functions, i);

                if ((!kind || function_is(function, kind)) &&
                    (!flag || function_flag(function, flag)))
                        n++;
        }
        return n;
}

/* What the daemon told; all NULL if it is not running. */
typedef struct Answers {
        Inventory *inventory;
        JsonArray *users, *inhibitors;
} Answers;

static void answers_done(Answers *answers) {
        inventory_free(answers->inventory);
        g_clear_pointer(&answers->users, json_array_unref);
        g_clear_pointer(&answers->inhibitors, json_array_unref);
}

static void print_status_json(Context *context, DaemonState state, const Answers *answers) {
        const Inventory *inventory = answers->inventory;
        g_autoptr(JsonNode) node = json_node_init_object(json_node_alloc(), NULL);
        JsonObject *object = json_object_new();

        json_node_take_object(node, object);
        json_object_set_boolean_member(object, "Installed", state != DAEMON_NOT_INSTALLED);
        json_object_set_boolean_member(object, "Running", state == DAEMON_RUNNING);
        if (inventory) {
                json_object_set_string_member(object, "Version", inventory->version);
                json_object_set_string_member(object, "Enforcement", inventory->enforcement);
        }
        if (inventory && inventory->problems)
                json_object_set_array_member(object, "Problems",
                                             json_array_ref(inventory->problems));
        if (inventory && inventory->guards)
                json_object_set_array_member(object, "Guards", json_array_ref(inventory->guards));
        for (size_t i = 0; inventory && i < G_N_ELEMENTS(counts); i++)
                json_object_set_int_member(object, counts[i].member,
                                           count(inventory, counts[i].kind, counts[i].flag));
        if (inventory) {
                json_object_set_int_member(object, "UserCount",
                                           holders_count_processes(answers->users));
                json_object_set_int_member(object, "InhibitorCount",
                                           json_array_get_length(answers->inhibitors));
        }
        output_json(&context->output, node, true);
}

static void service_add(Table *table, const char *label, Style style, const char *text) {
        g_autofree char *heading = g_strdup_printf("%s:", label);

        table_add(table, STYLE_PLAIN, heading);
        table_add(table, style, text);
}

static void add_count(Table *table, const char *label, Style style, unsigned n) {
        g_autofree char *number = g_strdup_printf("%u", n);

        service_add(table, label, n > 0 ? style : STYLE_PLAIN, number);
}

/* What the daemon cannot do at present, a line each. */
static void add_problems(Table *table, JsonArray *problems) {
        for (guint i = 0; problems && i < json_array_get_length(problems); i++) {
                g_autofree char *text =
                        value_format("Problems", json_array_get_element(problems, i));

                service_add(table, "Problem", STYLE_RED, text);
        }
}

/* What the kernel refuses beyond the modes of files, or why it does not, a line each. */
static void add_guards(Table *table, JsonArray *guards) {
        for (guint i = 0; guards && i < json_array_get_length(guards); i++) {
                g_autofree char *text = value_format("Guards", json_array_get_element(guards, i));

                service_add(table, "Kernel guard", STYLE_PLAIN, text);
        }
}

static void print_status(Context *context, DaemonState state, const Answers *answers) {
        const Inventory *inventory = answers->inventory;
        g_autoptr(Table) table = table_new(&context->output, 2);

        table_align_right(table, 0);
        if (inventory) {
                g_autofree char *running =
                        g_strdup_printf("running, version %s", inventory->version);
                bool enforces = g_str_equal(inventory->enforcement, "enforce");

                service_add(table, "Daemon", STYLE_GREEN, running);
                service_add(table, "Enforcement", enforces ? STYLE_PLAIN : STYLE_YELLOW,
                            words_for_enforcement(inventory->enforcement));
                add_guards(table, inventory->guards);
                add_problems(table, inventory->problems);
        } else {
                g_autofree char *place = client_where(context);
                g_autofree char *absent =
                        state == DAEMON_STOPPED
                                ? g_strdup_printf("not running%s; " CLIENT_HOW_TO_START, place)
                                : g_strdup_printf("not installed%s", place);

                service_add(table, "Daemon", STYLE_RED, absent);
        }

        for (size_t i = 0; inventory && i < G_N_ELEMENTS(counts); i++)
                add_count(table, counts[i].label, counts[i].style,
                          count(inventory, counts[i].kind, counts[i].flag));
        if (inventory) {
                add_count(table, "Users", STYLE_GREEN, holders_count_processes(answers->users));
                add_count(table, "Inhibitors", STYLE_YELLOW,
                          json_array_get_length(answers->inhibitors));
        }
        table_print(table);
}

static ExitCode run_status(Context *context, char **arguments) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        _cleanup_(answers_done) Answers answers = { 0 };
        DaemonState state;
        int r;

        r = client_daemon_state(context, &error, &state);
        if (r >= 0 && state == DAEMON_RUNNING)
                r = client_describe(context, CALL_NO_AUTO_START, &error, &answers.inventory);
        if (r >= 0 && state == DAEMON_RUNNING)
                r = holders_list_both(context, CALL_NO_AUTO_START, &error, &answers.users,
                                      &answers.inhibitors);
        if (r < 0)
                return client_fail(context, r, &error, "Cannot ask for the status");

        if (context->json)
                print_status_json(context, state, &answers);
        else
                print_status(context, state, &answers);
        return state == DAEMON_RUNNING ? EXIT_CODE_DONE : EXIT_CODE_UNREACHABLE;
}

const Verb verb_status = {
        .name = "status",
        .arguments = "",
        .run = run_status,
        .help = "The daemon, and how much is in use and locked",
        .pages = true,
};

/* Locked files stay locked while the daemon is away: the removal of the package starts it for
 * this. */
static ExitCode run_release_all(Context *context, char **arguments) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        g_autoptr(sd_bus_message) reply = NULL;
        g_autoptr(JsonNode) files = NULL;
        int r;

        r = client_call(context, CLIENT_ROOT, CLIENT_MANAGER, "ReleaseAll", CALL_INTERACTIVE,
                        &error, &reply, "");
        if (r >= 0 && !sd_bus_message_has_signature(reply, "as"))
                r = -EBADMSG;
        if (r >= 0)
                r = value_read(reply, &files);
        if (r < 0)
                return client_fail(context, r, &error, "Cannot unlock the files");

        if (context->json) {
                output_json(&context->output, files, true);
                return EXIT_CODE_DONE;
        }

        JsonArray *array = json_node_get_array(files);
        guint n = json_array_get_length(array);

        for (guint i = 0; i < n; i++) {
                output_text(&context->output, STYLE_PLAIN, json_array_get_string_element(array, i));
                output_format(&context->output, "\n");
        }
        if (n == 0 && context->legend)
                output_format(&context->output, "No file was write-protected.\n");
        return EXIT_CODE_DONE;
}

const Verb verb_release_all = {
        .name = "release-all",
        .arguments = "",
        .run = run_release_all,
        .help = "Unlock all files, before vfwarden is removed",
        .acts = true,
};

static ExitCode run_reload(Context *context, char **arguments) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        int r;

        r = client_call(context, CLIENT_ROOT, CLIENT_MANAGER, "Reload",
                        CALL_INTERACTIVE | CALL_NO_AUTO_START, &error, NULL, "");
        if (r < 0)
                return client_fail(context, r, &error, "Cannot reload the configuration");
        return EXIT_CODE_DONE;
}

const Verb verb_reload = {
        .name = "reload",
        .arguments = "",
        .run = run_reload,
        .help = "Make the daemon read its configuration again",
        .acts = true,
};
