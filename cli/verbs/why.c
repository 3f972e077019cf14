#include "cli/advice.h"
#include "cli/arguments.h"
#include "cli/cleanup.h"
#include "cli/client.h"
#include "cli/function/subject.h"
#include "cli/holders.h"
#include "cli/output/table.h"
#include "cli/value.h"
#include "cli/verbs.h"
#include "cli/vocabulary.h"

#include <errno.h>

/* The structures (sssu) of the answer, each as an object. */
static JsonArray *name_members(JsonArray *blockers) {
        static const char *const members[] = { "Kind", "Subject", "Reason", "Pid" };
        JsonArray *named = json_array_new();

        for (guint i = 0; i < json_array_get_length(blockers); i++) {
                JsonArray *values = json_array_get_array_element(blockers, i);
                JsonObject *blocker = json_object_new();

                for (guint j = 0; j < json_array_get_length(values); j++)
                        json_object_set_member(blocker, members[j],
                                               json_array_dup_element(values, j));
                json_array_add_object_element(named, blocker);
        }
        return named;
}

static int read_answer(sd_bus_message *reply, JsonObject *answer) {
        g_autoptr(JsonNode) blockers = NULL, warnings = NULL;
        int allowed, r;

        if (!sd_bus_message_has_signature(reply, "ba(sssu)as"))
                return -EBADMSG;
        r = sd_bus_message_read(reply, "b", &allowed);
        if (r < 0)
                return r;
        r = value_read(reply, &blockers);
        if (r < 0)
                return r;
        r = value_read(reply, &warnings);
        if (r < 0)
                return r;

        json_object_set_boolean_member(answer, "Allowed", allowed);
        json_object_set_array_member(answer, "Blockers",
                                     name_members(json_node_get_array(blockers)));
        json_object_set_member(answer, "Warnings", g_steal_pointer(&warnings));
        return 0;
}

static int ask(Context *context, const char *address, const char *operation,
               sd_bus_error *ret_error, JsonObject **ret) {
        g_autoptr(JsonObject) answer = json_object_new();
        g_autoptr(sd_bus_message) reply = NULL;
        int r;

        r = client_call(context, CLIENT_ROOT, CLIENT_MANAGER, "Check", 0, ret_error, &reply, "ss",
                        address, operation);
        if (r < 0)
                return r;
        json_object_set_string_member(answer, "Address", address);
        json_object_set_string_member(answer, "Operation", operation);
        r = read_answer(reply, answer);
        if (r < 0)
                return r;
        *ret = g_steal_pointer(&answer);
        return 0;
}

static void why_print_row(Output *output, const char *label, Style style, const char *text) {
        output_format(output, "%15s  ", label);
        output_text(output, style, text);
        output_format(output, "\n");
}

/* What the reason does not say about the process. */
static void print_process(Context *context, JsonObject *user) {
        g_autofree char *since = value_format_time(function_integer(user, "Since", 0));
        const char *unit = function_string(user, "Unit");
        g_autofree char *process =
                g_strdup_printf("pid %" G_GINT64_FORMAT ", uid %" G_GINT64_FORMAT "%s%s",
                                function_integer(user, "Pid", 0), function_integer(user, "Uid", 0),
                                *unit ? ", unit " : "", unit);

        why_print_row(&context->output, "Process:", STYLE_PLAIN, process);
        if (since)
                why_print_row(&context->output, "Holds it since:", STYLE_PLAIN, since);
}

static void why_print_blocker(Context *context, const Question *question, JsonObject *blocker) {
        const char *subject = function_string(blocker, "Subject");
        gint64 pid = function_integer(blocker, "Pid", 0);
        g_autoptr(GPtrArray) advice = advice_for(question, blocker);
        JsonObject *user = pid != 0 ? holders_find(question->users, subject, pid) : NULL;
        Output *output = &context->output;

        output_format(output, "\n");
        output_text(output, STYLE_YELLOW, subject);
        output_format(output, ": ");
        output_text(output, STYLE_PLAIN, function_string(blocker, "Reason"));
        output_format(output, "\n");
        why_print_row(output, "Kind:", STYLE_PLAIN, function_string(blocker, "Kind"));
        if (user)
                print_process(context, user);
        else if (pid != 0) {
                g_autofree char *process = g_strdup_printf("pid %" G_GINT64_FORMAT, pid);

                why_print_row(output, "Process:", STYLE_PLAIN, process);
        }
        for (guint i = 0; i < advice->len; i++)
                why_print_row(output, i == 0 ? "What to do:" : "or:", STYLE_PLAIN,
                              advice->pdata[i]);
}

static void print_answer(Context *context, const Question *question, JsonObject *answer) {
        JsonArray *blockers = function_array(answer, "Blockers");
        JsonArray *warnings = function_array(answer, "Warnings");
        guint n = json_array_get_length(blockers);
        bool allowed = function_flag(answer, "Allowed");
        Output *output = &context->output;

        output_text(output, STYLE_BOLD, question->address);
        output_format(output, ": ");
        output_text(output, STYLE_PLAIN, question->operation);
        if (allowed)
                output_styled(output, STYLE_GREEN, " is possible");
        else
                output_styled(output, STYLE_RED, " is refused");
        if (allowed)
                output_format(output, ", nothing stands against it\n");
        else if (n == 1)
                output_format(output, ", because of this:\n");
        else
                output_format(output, ", because of these %u:\n", n);

        for (guint i = 0; i < n; i++)
                why_print_blocker(context, question, json_array_get_object_element(blockers, i));
        for (guint i = 0; i < json_array_get_length(warnings); i++) {
                if (i == 0)
                        output_format(output, "\n");
                output_styled(output, STYLE_YELLOW, "Warning");
                output_format(output, ": ");
                output_text(output, STYLE_PLAIN, json_array_get_string_element(warnings, i));
                output_format(output, "\n");
        }
}

static ExitCode why_one(Context *context, const char *address, const char *operation) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        g_autoptr(JsonArray) users = NULL, inhibitors = NULL;
        g_autoptr(JsonObject) answer = NULL;
        g_autoptr(Inventory) inventory = NULL;
        int r;

        r = ask(context, address, operation, &error, &answer);
        if (r >= 0 && !context->json)
                r = holders_list_both(context, 0, &error, &users, &inhibitors);
        if (r >= 0 && !context->json)
                r = client_describe(context, 0, &error, &inventory);
        if (r < 0)
                return client_fail(context, r, &error, "Cannot ask about %s of %s", operation,
                                   address);

        if (context->json) {
                g_autoptr(JsonNode) node = json_node_init_object(json_node_alloc(), answer);

                output_json(&context->output, node, true);
        } else
                print_answer(context,
                             &(Question){ .address = address,
                                          .operation = operation,
                                          .inventory = inventory,
                                          .users = users,
                                          .inhibitors = inhibitors },
                             answer);
        return function_flag(answer, "Allowed") ? EXIT_CODE_DONE : EXIT_CODE_REFUSED;
}

static void why_add_row(Table *table, JsonObject *answer, const char *verdict, Style style,
                        const char *kind, const char *subject, const char *reason) {
        table_add(table, STYLE_PLAIN, function_string(answer, "Operation"));
        table_add(table, style, verdict);
        table_add(table, STYLE_PLAIN, kind);
        table_add(table, STYLE_PLAIN, subject);
        table_add(table, STYLE_PLAIN, reason);
}

/* A row for each thing in the way, so that each row tells all about itself. */
static void print_answers(Context *context, JsonArray *answers) {
        static const char *const headings[] = { "OPERATION", "POSSIBLE", "KIND", "SUBJECT",
                                                "REASON" };
        g_autoptr(Table) table = table_new(&context->output, G_N_ELEMENTS(headings));

        table_fit(table);

        for (size_t i = 0; context->legend && i < G_N_ELEMENTS(headings); i++)
                table_add(table, STYLE_BOLD, headings[i]);
        for (guint i = 0; i < json_array_get_length(answers); i++) {
                JsonObject *answer = json_array_get_object_element(answers, i);
                JsonArray *blockers = function_array(answer, "Blockers");

                bool allowed = function_flag(answer, "Allowed");

                if (json_array_get_length(blockers) == 0)
                        why_add_row(table, answer, allowed ? "yes" : "no",
                                    allowed ? STYLE_GREEN : STYLE_RED, "-", "-", "-");
                for (guint j = 0; j < json_array_get_length(blockers); j++) {
                        JsonObject *blocker = json_array_get_object_element(blockers, j);

                        why_add_row(table, answer, "no", STYLE_RED,
                                    function_string(blocker, "Kind"),
                                    function_string(blocker, "Subject"),
                                    function_string(blocker, "Reason"));
                }
        }
        table_print(table);
}

/* Whether the function has what the operation is about. */
static bool exists_for(JsonObject *function, const char *operation) {
        if (g_str_equal(operation, "set-num-vfs") || g_str_equal(operation, "set-autoprobe"))
                return function_is(function, "pf");
        if (g_str_equal(operation, "disable-pasid"))
                return function_object(function, "Pasid");
        return true;
}

/* Asks for each of `operations` that there is for the function. */
static int ask_each(Context *context, const char *address, const char *const *operations,
                    sd_bus_error *ret_error, JsonArray *answers) {
        g_autoptr(Inventory) inventory = NULL;
        JsonObject *function;
        int r = client_describe(context, 0, ret_error, &inventory);

        if (r < 0)
                return r;
        function = inventory_find(inventory, address);
        for (; *operations; operations++) {
                g_autoptr(JsonObject) answer = NULL;

                if (function && !exists_for(function, *operations))
                        continue;
                r = ask(context, address, *operations, ret_error, &answer);
                if (sd_bus_error_has_name(ret_error, "org.vfwarden1.Error.NotSupported")) {
                        sd_bus_error_free(ret_error); /* not for functions of this kind */
                        continue;
                }
                if (r < 0)
                        return r;
                json_array_add_object_element(answers, g_steal_pointer(&answer));
        }
        return 0;
}

static bool all_allowed(JsonArray *answers) {
        for (guint i = 0; i < json_array_get_length(answers); i++)
                if (!function_flag(json_array_get_object_element(answers, i), "Allowed"))
                        return false;
        return true;
}

/* A row for each operation that there is. `ret_allowed`: whether all of them are possible. */
static ExitCode why_each(Context *context, const char *address, const char *const *operations,
                         bool *ret_allowed) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        g_autoptr(JsonArray) answers = json_array_new();
        int r = ask_each(context, address, operations, &error, answers);

        if (r < 0)
                return client_fail(context, r, &error, "Cannot ask about %s", address);
        *ret_allowed = all_allowed(answers);
        if (context->json) {
                g_autoptr(JsonNode) node = json_node_init_array(json_node_alloc(), answers);

                output_json(&context->output, node, true);
        } else
                print_answers(context, answers);
        return EXIT_CODE_DONE;
}

/* A verb that takes no function away; but there has to be the function. */
static ExitCode why_harmless(Context *context, const char *address, const char *verb) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        g_autoptr(JsonObject) answer = json_object_new();
        g_autoptr(JsonNode) node = NULL;
        g_autofree char *path = NULL;
        int r = client_get_function(context, address, &error, &path);

        if (r < 0)
                return client_fail(context, r, &error, "Cannot ask about %s of %s", verb, address);
        if (!context->json) {
                output_text(&context->output, STYLE_BOLD, address);
                output_format(&context->output, ": %s", verb);
                output_styled(&context->output, STYLE_GREEN, " is possible");
                output_format(&context->output, ", it takes no function away\n");
                return EXIT_CODE_DONE;
        }
        json_object_set_string_member(answer, "Address", address);
        json_object_set_string_member(answer, "Operation", verb);
        json_object_set_boolean_member(answer, "Allowed", true);
        json_object_set_array_member(answer, "Blockers", json_array_new());
        json_object_set_array_member(answer, "Warnings", json_array_new());
        node = json_node_init_object(json_node_alloc(), answer);
        output_json(&context->output, node, true);
        return EXIT_CODE_DONE;
}

/* An operation that is not known here may be a later daemon's. */
static ExitCode why_unknown(Context *context, const char *address, const char *word) {
        const char *meant = vocabulary_nearest(word);
        ExitCode code = why_one(context, address, word);

        if (code == EXIT_CODE_USAGE && meant)
                print_hint("'%s': did you mean '%s'?", word, meant);
        return code;
}

static ExitCode why_word(Context *context, const char *address, const char *word) {
        const char *operations = vocabulary_operations(word);
        g_auto(GStrv) each = NULL;
        bool allowed = false;
        ExitCode code;

        if (!operations)
                return why_unknown(context, address, word);
        if (!*operations)
                return why_harmless(context, address, word);
        each = g_strsplit(operations, ":", -1);
        if (!each[1])
                return why_one(context, address, operations);
        code = why_each(context, address, (const char *const *) each, &allowed);
        return code == EXIT_CODE_DONE && !allowed ? EXIT_CODE_REFUSED : code;
}

static ExitCode run_why(Context *context, char **arguments) {
        g_autofree char *address = NULL;
        ExitCode code = subject_find(context, arguments[0], &address);
        bool allowed;

        if (code != EXIT_CODE_DONE)
                return code;
        if (arguments[1] && !argument_is_text("The operation", arguments[1]))
                return EXIT_CODE_USAGE;
        return arguments[1] ? why_word(context, address, arguments[1])
                            : why_each(context, address, vocabulary_all, &allowed);
}

const Verb verb_why = {
        .name = "why",
        .arguments = "ADDRESS [OPERATION]",
        .min = 1,
        .max = 2,
        .run = run_why,
        .help = "What blocks it, and what to do about that",
        .pages = true,
};
