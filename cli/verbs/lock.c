#include "cli/cleanup.h"
#include "cli/client.h"
#include "cli/function/subject.h"
#include "cli/output/words.h"
#include "cli/value.h"
#include "cli/verbs.h"

static void lock_print_json(Context *context, JsonObject *function) {
        static const char *const members[] = { "Address", "Locked", "LockReasons", "LockWhy",
                                               "ClosedFiles" };
        g_autoptr(JsonNode) node = json_node_init_object(json_node_alloc(), NULL);
        JsonObject *object = json_object_new();

        json_node_take_object(node, object);
        for (size_t i = 0; i < G_N_ELEMENTS(members); i++) {
                JsonNode *value = json_object_get_member(function, members[i]);

                if (value)
                        json_object_set_member(object, members[i], json_node_copy(value));
        }
        subject_print_json(context, node);
}

static void print_locked(Context *context, const Inventory *inventory, JsonObject *function) {
        g_autofree char *closed = function_joined(function, "ClosedFiles", ", ");
        Output *output = &context->output;

        output_text(output, STYLE_BOLD, function_string(function, "Address"));
        output_format(output, " is locked, ");
        if (*closed) {
                output_format(output, "write-protected files: ");
                output_text(output, STYLE_PLAIN, closed);
        } else
                output_format(output,
                              g_str_equal(inventory->enforcement, "advise")
                                      ? "but vfwardend only advises: no file is write-protected"
                                      : "but it has no file to write-protect");
        output_format(output, "\n");
}

static void print_unlocked(Context *context, JsonObject *function) {
        JsonArray *reasons = function_array(function, "LockReasons");
        guint n = reasons ? json_array_get_length(reasons) : 0;
        Output *output = &context->output;

        output_text(output, STYLE_BOLD, function_string(function, "Address"));
        if (n == 0 && !function_flag(function, "Locked")) {
                output_format(output, " is unlocked\n");
                return;
        }

        output_format(output, " is no longer locked by the administrator, but still by\n");
        for (guint i = 0; i < n; i++) {
                g_autofree char *reason = value_format("", json_array_get_element(reasons, i));
                g_autofree char *text = words_for_reason(reason);

                output_format(output, "  ");
                output_text(output, STYLE_YELLOW, text);
                output_format(output, "\n");
        }
}

/* Calls Lock(why), or Unlock() if `why` is NULL, and tells what the lock is like afterwards. */
static ExitCode change_lock(Context *context, const char *address, const char *why) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        g_autofree char *path = NULL;
        g_autoptr(Inventory) inventory = NULL;
        const char *attempt = why ? "Cannot lock" : "Cannot unlock";
        JsonObject *function;
        int r;

        if (why && !g_utf8_validate(why, -1, NULL)) {
                print_error("'%s' is not UTF-8, as a text for others has to be", why);
                return EXIT_CODE_USAGE;
        }

        r = client_get_function(context, address, &error, &path);
        if (r < 0)
                return client_fail(context, r, &error, "%s %s", attempt, address);

        if (why)
                r = client_call(context, path, CLIENT_FUNCTION, "Lock", CALL_INTERACTIVE, &error,
                                NULL, "s", why);
        else
                r = client_call(context, path, CLIENT_FUNCTION, "Unlock", CALL_INTERACTIVE, &error,
                                NULL, "");
        if (r < 0)
                return client_fail(context, r, &error, "%s %s", attempt, address);

        r = client_describe(context, 0, &error, &inventory);
        if (r < 0)
                return client_fail(context, r, &error, "%s was %s, but it cannot be shown", address,
                                   why ? "locked" : "unlocked");

        function = inventory_find(inventory, address);
        if (!function) {
                print_error("%s %s: the function was removed meanwhile", attempt, address);
                return EXIT_CODE_GONE;
        }

        if (context->json)
                lock_print_json(context, function);
        else if (why)
                print_locked(context, inventory, function);
        else
                print_unlocked(context, function);
        return EXIT_CODE_DONE;
}

static ExitCode run_lock(Context *context, char **arguments) {
        g_autofree char *address = NULL;
        ExitCode code = subject_find(context, arguments[0], &address);

        return code != EXIT_CODE_DONE
                       ? code
                       : change_lock(context, address, arguments[1] ? arguments[1] : "");
}

const Verb verb_lock = {
        .name = "lock",
        .arguments = "ADDRESS [WHY]",
        .min = 1,
        .max = 2,
        .run = run_lock,
        .help = "Lock the files that remove, reset or reconfigure it",
        .acts = true,
};

static ExitCode unlock(Context *context, const char *address) {
        return change_lock(context, address, NULL);
}

static ExitCode run_unlock(Context *context, char **arguments) {
        return subject_do_each(context, arguments, unlock);
}

const Verb verb_unlock = {
        .name = "unlock",
        .arguments = "ADDRESS...",
        .min = 1,
        .max = INT_MAX,
        .run = run_unlock,
        .help = "Remove such a lock, and print the other reasons",
        .acts = true,
};
