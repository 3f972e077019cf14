/* The verbs that do something to a function, as the daemon does it: refused or done, and looked at
 * afterwards. */
#include "cli/arguments.h"
#include "cli/cleanup.h"
#include "cli/client.h"
#include "cli/function/subject.h"
#include "cli/verbs.h"
#include "cli/wait/operation-wait.h"

typedef struct Operation {
        const char *name;           /* of Check() */
        const char *interface;      /* that has the method */
        const char *method;         /* NULL: there is none without options */
        const char *options_method; /* the same with options; NULL: there is none */
        const char *attempt;        /* "Cannot ..." */
        const char *const *members; /* of the function, that --json shows */
        void (*print)(Output *output, JsonObject *function);
} Operation;

static const char *const driver_members[] = { "Address", "Driver", "DriverOverride", NULL };
static const char *const reset_members[] = { "Address", NULL };
static const char *const vfs_members[] = { "Address", "NumVFs", "TotalVFs", "VirtualFunctions",
                                           NULL };
static const char *const autoprobe_members[] = { "Address", "DriversAutoprobe", NULL };

static void print_driver(Output *output, JsonObject *function) {
        const char *driver = function_string(function, "Driver");

        output_format(output, *driver ? " is bound to " : " is bound to no driver");
        output_text(output, STYLE_PLAIN, driver);
}

static void print_reset(Output *output, JsonObject *function) {
        output_format(output, " was reset");
}

static void print_vfs(Output *output, JsonObject *function) {
        gint64 n = function_integer(function, "NumVFs", 0);
        g_autofree char *vfs = function_joined(function, "VirtualFunctions", ", ");

        if (n == 0)
                output_format(output, " has no virtual functions");
        else
                output_format(output, " has %" G_GINT64_FORMAT " virtual function%s", n,
                              n == 1 ? "" : "s");
        if (*vfs) {
                output_format(output, ": ");
                output_text(output, STYLE_PLAIN, vfs);
        }
}

static void print_autoprobe(Output *output, JsonObject *function) {
        output_format(output, function_flag(function, "DriversAutoprobe")
                                      ? ": virtual functions get a driver when they are made"
                                      : ": virtual functions are left without a driver when they "
                                        "are made");
}

/* clang-format off */
static const Operation operation_bind = {
        "bind", CLIENT_FUNCTION, "Bind", "BindWithOptions", "Cannot bind",
        driver_members, print_driver,
};
static const Operation operation_unbind = {
        "unbind", CLIENT_FUNCTION, "Unbind", "UnbindWithOptions", "Cannot unbind",
        driver_members, print_driver,
};
static const Operation operation_reset = {
        "reset", CLIENT_FUNCTION, "Reset", "ResetWithOptions", "Cannot reset",
        reset_members, print_reset,
};
static const Operation operation_set_vfs = {
        "set-num-vfs", CLIENT_PHYSICAL, NULL, "SetNumVFs",
        "Cannot set the number of virtual functions of", vfs_members, print_vfs,
};
static const Operation operation_set_autoprobe = {
        "set-autoprobe", CLIENT_PHYSICAL, "SetDriversAutoprobe", NULL,
        "Cannot set the probing of virtual functions of", autoprobe_members, print_autoprobe,
};
/* clang-format on */

static void operate_print_json(Context *context, const Operation *operation, JsonObject *function) {
        JsonObject *object = json_object_new();
        g_autoptr(JsonNode) node = json_node_init_object(json_node_alloc(), object);

        json_object_unref(object);
        for (const char *const *member = operation->members; *member; member++)
                if (json_object_has_member(function, *member))
                        json_object_set_member(object, *member,
                                               json_object_dup_member(function, *member));
        subject_print_json(context, node);
}

static ExitCode operate_fail(Context *context, const Operation *operation, const char *address,
                             int r, const sd_bus_error *error) {
        ExitCode code;

        /* What sd-bus and GDBus say of an interface that is not there is for programmers. */
        if (g_str_equal(operation->interface, CLIENT_PHYSICAL) &&
            (sd_bus_error_has_name(error, SD_BUS_ERROR_UNKNOWN_INTERFACE) ||
             sd_bus_error_has_name(error, SD_BUS_ERROR_UNKNOWN_METHOD))) {
                print_error("%s %s: it is not a physical function, or this vfwardend is too old",
                            operation->attempt, address);
                return EXIT_CODE_NOT_SUPPORTED;
        }
        code = client_fail(context, r, error, "%s %s", operation->attempt, address);
        if (code == EXIT_CODE_REFUSED)
                print_hint("\"vfwarden why %s %s\" tells what can be done about it", address,
                           operation->name);
        return code;
}

/* Appends the options that were given. */
static int append_options(const Context *context, sd_bus_message *message) {
        int r = sd_bus_message_open_container(message, 'a', "{sv}");

        if (r >= 0 && context->override)
                r = sd_bus_message_append(message, "{sv}", "override", "b", 1);
        if (r >= 0 && context->override_host)
                r = sd_bus_message_append(message, "{sv}", "override-host", "b", 1);
        return r < 0 ? r : sd_bus_message_close_container(message);
}

/* Calls the method with arguments of `types`, and options behind them if there are any; and says
 * what the function is like afterwards. */
static ExitCode operate(Context *context, const Operation *operation, const char *address,
                        const char *types, ...) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        g_autofree char *path = NULL;
        g_autoptr(sd_bus_message) message = NULL;
        g_autoptr(Inventory) inventory = NULL;
        const unsigned flags = CALL_INTERACTIVE | CALL_OPERATION;
        bool with_options = !operation->method || context->override || context->override_host;
        JsonObject *function;
        va_list arguments;
        int r;

        r = client_get_function(context, address, &error, &path);
        if (r >= 0)
                r = client_new_call(context, path, operation->interface,
                                    with_options ? operation->options_method : operation->method,
                                    flags, &message);
        if (r < 0)
                return client_fail(context, r, &error, "%s %s", operation->attempt, address);

        va_start(arguments, types);
        r = sd_bus_message_appendv(message, types, arguments);
        va_end(arguments);
        if (r >= 0 && with_options)
                r = append_options(context, message);
        if (r >= 0)
                r = operation_wait(context, message, address, operation->name,
                                   client_timeout(flags), &error);
        if (r < 0)
                return operate_fail(context, operation, address, r, &error);

        r = client_describe(context, 0, &error, &inventory);
        if (r < 0)
                return client_fail(context, r, &error, "%s of %s was done, but it cannot be shown",
                                   operation->name, address);
        function = inventory_find(inventory, address);
        if (!function) {
                print_error("%s of %s was done, but the function was removed meanwhile",
                            operation->name, address);
                return EXIT_CODE_GONE;
        }

        if (context->json)
                operate_print_json(context, operation, function);
        else {
                output_text(&context->output, STYLE_BOLD, address);
                operation->print(&context->output, function);
                output_format(&context->output, "\n");
        }
        return EXIT_CODE_DONE;
}

static const Option host_options[] = { OPTION_OVERRIDE_HOST, { NULL } };

static ExitCode run_bind(Context *context, char **arguments) {
        const char *driver = arguments[1] ? arguments[1] : "";
        g_autofree char *address = NULL;
        ExitCode code;

        if (!argument_is_text("The driver", driver))
                return EXIT_CODE_USAGE;
        code = subject_find(context, arguments[0], &address);
        return code != EXIT_CODE_DONE ? code
                                      : operate(context, &operation_bind, address, "s", driver);
}

const Verb verb_bind = {
        .name = "bind",
        .arguments = "ADDRESS [DRIVER]",
        .min = 1,
        .max = 2,
        .run = run_bind,
        .help = "Bind it to DRIVER, or to the kernel's choice",
        .options = host_options,
        .acts = true,
};

static ExitCode unbind(Context *context, const char *address) {
        return operate(context, &operation_unbind, address, "");
}

static ExitCode run_unbind(Context *context, char **arguments) {
        return subject_do_each(context, arguments, unbind);
}

const Verb verb_unbind = {
        .name = "unbind",
        .arguments = "ADDRESS...",
        .min = 1,
        .max = INT_MAX,
        .run = run_unbind,
        .help = "Unbind it from its driver",
        .options = host_options,
        .acts = true,
};

static ExitCode reset(Context *context, const char *address) {
        return operate(context, &operation_reset, address, "");
}

static ExitCode run_reset(Context *context, char **arguments) {
        return subject_do_each(context, arguments, reset);
}

const Verb verb_reset = {
        .name = "reset",
        .arguments = "ADDRESS...",
        .min = 1,
        .max = INT_MAX,
        .run = run_reset,
        .help = "Reset it",
        .options = host_options,
        .acts = true,
};

static ExitCode run_set_vfs(Context *context, char **arguments) {
        g_autofree char *address = NULL;
        uint16_t count;
        ExitCode code;

        if (!argument_read_count(arguments[1], &count))
                return EXIT_CODE_USAGE;
        code = subject_find(context, arguments[0], &address);
        return code != EXIT_CODE_DONE
                       ? code
                       : operate(context, &operation_set_vfs, address, "q", (int) count);
}

static const Option set_vfs_options[] = {
        OPTION_SWITCH("override", override,
                      "ignore the locks of a userspace driver and of an administrator"),
        OPTION_OVERRIDE_HOST,
        { NULL },
};

const Verb verb_set_vfs = {
        .name = "set-vfs",
        .arguments = "ADDRESS COUNT",
        .min = 2,
        .max = 2,
        .run = run_set_vfs,
        .help = "Enable COUNT virtual functions",
        .options = set_vfs_options,
        .acts = true,
};

static ExitCode run_set_autoprobe(Context *context, char **arguments) {
        g_autofree char *address = NULL;
        ExitCode code;
        bool enable;

        if (!argument_read_switch(arguments[1], &enable))
                return EXIT_CODE_USAGE;
        code = subject_find(context, arguments[0], &address);
        return code != EXIT_CODE_DONE
                       ? code
                       : operate(context, &operation_set_autoprobe, address, "b", (int) enable);
}

const Verb verb_set_autoprobe = {
        .name = "set-autoprobe",
        .arguments = "ADDRESS yes|no",
        .min = 2,
        .max = 2,
        .run = run_set_autoprobe,
        .help = "Whether new virtual functions get a driver",
        .acts = true,
};
