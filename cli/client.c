#include "cli/client.h"

#include "cli/agent.h"
#include "cli/cleanup.h"
#include "cli/suggest.h"

#include <errno.h>

/* Somebody has to read polkit's question, find the password and type it. */
#define INTERACTIVE_TIMEOUT_USEC (120 * G_USEC_PER_SEC)
/* More than the 20 seconds after which the daemon answers, be it done or not. */
#define OPERATION_TIMEOUT_USEC (30 * G_USEC_PER_SEC)

char *client_where(const Context *context) {
        const char *place = context->host ? context->host : context->machine;

        return place ? g_strdup_printf(" on %s", place) : g_strdup("");
}

int client_connect(Context *context) {
        int r;

        if (context->bus)
                return 0;

        if (context->host)
                r = sd_bus_open_system_remote(&context->bus, context->host);
        else if (context->machine)
                r = sd_bus_open_system_machine(&context->bus, context->machine);
        else
                r = sd_bus_open_system(&context->bus);
        return r < 0 ? r : 0;
}

int client_new_call(Context *context, const char *path, const char *interface, const char *member,
                    unsigned flags, sd_bus_message **ret) {
        g_autoptr(sd_bus_message) message = NULL;
        int r;

        r = client_connect(context);
        if (r < 0)
                return r;
        r = sd_bus_message_new_method_call(context->bus, &message, CLIENT_BUS_NAME, path, interface,
                                           member);
        if (r < 0)
                return r;
        r = sd_bus_message_set_auto_start(message, !(flags & CALL_NO_AUTO_START));
        if (r < 0)
                return r;
        if (flags & CALL_INTERACTIVE)
                agent_begin(context);
        r = sd_bus_message_set_allow_interactive_authorization(
                message, (flags & CALL_INTERACTIVE) && context->ask_password);
        if (r < 0)
                return r;

        *ret = g_steal_pointer(&message);
        return 0;
}

uint64_t client_timeout(unsigned flags) {
        return (flags & CALL_INTERACTIVE ? INTERACTIVE_TIMEOUT_USEC : 0) +
               (flags & CALL_OPERATION ? OPERATION_TIMEOUT_USEC : 0);
}

int client_call(Context *context, const char *path, const char *interface, const char *member,
                unsigned flags, sd_bus_error *ret_error, sd_bus_message **ret_reply,
                const char *types, ...) {
        g_autoptr(sd_bus_message) message = NULL;
        va_list arguments;
        int r;

        r = client_new_call(context, path, interface, member, flags, &message);
        if (r < 0)
                return r;

        va_start(arguments, types);
        r = sd_bus_message_appendv(message, types, arguments);
        va_end(arguments);
        if (r < 0)
                return r;

        r = sd_bus_call(context->bus, message, client_timeout(flags), ret_error, ret_reply);
        return r < 0 ? r : 0;
}

static int on_reply(sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        ClientCall *call = userdata;

        call->reply = sd_bus_message_ref(reply);
        return 0;
}

int client_call_send(sd_bus_message *message, ClientCall *call) {
        int r = sd_bus_call_async(sd_bus_message_get_bus(message), &call->slot, message, on_reply,
                                  call, UINT64_MAX);

        return r < 0 ? r : 0;
}

int client_process(Context *context, gint64 deadline) {
        gint64 left = deadline - g_get_monotonic_time();
        int r = sd_bus_process(context->bus, NULL);

        if (r != 0)
                return r < 0 && r != -EINTR ? r : 0;
        if (left <= 0)
                return -ETIMEDOUT;
        r = sd_bus_wait(context->bus, (uint64_t) left);
        return r < 0 && r != -EINTR ? r : 0;
}

int client_call_wait(Context *context, const ClientCall *call, gint64 deadline,
                     sd_bus_error *ret_error) {
        int r = 0;

        while (r >= 0 && !call->reply)
                r = client_process(context, deadline);
        if (r < 0 || !sd_bus_message_is_method_error(call->reply, NULL))
                return r;
        (void) sd_bus_error_copy(ret_error, sd_bus_message_get_error(call->reply));
        return -sd_bus_message_get_errno(call->reply);
}

void client_call_done(ClientCall *call) {
        sd_bus_slot_unref(call->slot);
        sd_bus_message_unref(call->reply);
        *call = (ClientCall){ NULL, NULL };
}

int client_get_function(Context *context, const char *address, sd_bus_error *ret_error,
                        char **ret_path) {
        g_autoptr(sd_bus_message) reply = NULL;
        const char *path;
        int r;

        r = client_call(context, CLIENT_ROOT, CLIENT_MANAGER, "GetFunction", 0, ret_error, &reply,
                        "s", address);
        if (r < 0)
                return r;
        r = sd_bus_message_read(reply, "o", &path);
        if (r < 0)
                return r;

        *ret_path = g_strdup(path);
        return 0;
}

int client_read_inventory(sd_bus_message *reply, sd_bus_error *ret_error, Inventory **ret) {
        g_autoptr(GError) error = NULL;
        const char *document;
        int r;

        r = sd_bus_message_read(reply, "s", &document);
        if (r < 0)
                return r;
        r = inventory_parse(document, ret, &error);
        if (r < 0)
                return sd_bus_error_setf(ret_error, SD_BUS_ERROR_INCONSISTENT_MESSAGE,
                                         "the daemon's answer is not understood: %s",
                                         error->message);
        return 0;
}

int client_describe(Context *context, unsigned flags, sd_bus_error *ret_error, Inventory **ret) {
        g_autoptr(sd_bus_message) reply = NULL;
        int r;

        r = client_call(context, CLIENT_ROOT, CLIENT_MANAGER, "Describe", flags, ret_error, &reply,
                        "");
        if (r < 0)
                return r;
        return client_read_inventory(reply, ret_error, ret);
}

/* Nothing starts the daemon for a client, so the bus does not know of one that is stopped. systemd
 * does, where there is one to ask. */
static bool is_installed(Context *context) {
        return sd_bus_call_method(context->bus, "org.freedesktop.systemd1",
                                  "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager",
                                  "GetUnitFileState", NULL, NULL, "s", CLIENT_UNIT) >= 0;
}

int client_daemon_state(Context *context, sd_bus_error *ret_error, DaemonState *ret) {
        g_autoptr(sd_bus_message) reply = NULL;
        g_autoptr(sd_bus_message) names = NULL;
        int r, running;

        r = client_connect(context);
        if (r < 0)
                return r;
        r = sd_bus_call_method(context->bus, "org.freedesktop.DBus", "/org/freedesktop/DBus",
                               "org.freedesktop.DBus", "NameHasOwner", ret_error, &reply, "s",
                               CLIENT_BUS_NAME);
        if (r < 0)
                return r;
        r = sd_bus_message_read(reply, "b", &running);
        if (r < 0)
                return r;
        if (running) {
                *ret = DAEMON_RUNNING;
                return 0;
        }

        r = sd_bus_call_method(context->bus, "org.freedesktop.DBus", "/org/freedesktop/DBus",
                               "org.freedesktop.DBus", "ListActivatableNames", ret_error, &names,
                               "");
        if (r < 0)
                return r;
        r = sd_bus_message_enter_container(names, SD_BUS_TYPE_ARRAY, "s");
        if (r < 0)
                return r;

        const char *name;

        while ((r = sd_bus_message_read(names, "s", &name)) > 0)
                if (g_str_equal(name, CLIENT_BUS_NAME)) {
                        *ret = DAEMON_STOPPED;
                        return 0;
                }
        if (r < 0)
                return r;

        *ret = is_installed(context) ? DAEMON_STOPPED : DAEMON_NOT_INSTALLED;
        return 0;
}

static ExitCode fail_unreachable(Context *context, int r, const sd_bus_error *error) {
        g_autofree char *place = client_where(context);
        DaemonState state;
        const char *name = error ? error->name : NULL;
        const char *why = error && error->message ? error->message : g_strerror(-r);

        if (!context->bus || client_daemon_state(context, NULL, &state) < 0)
                print_named_error(name, "Cannot reach the system bus%s: %s", place, why);
        else if (state == DAEMON_NOT_INSTALLED)
                print_named_error(
                        name,
                        "vfwarden is not installed%s: nothing on the system bus answers to "
                        "%s",
                        place, CLIENT_BUS_NAME);
        else if (sd_bus_error_has_name(error, SD_BUS_ERROR_NO_REPLY))
                print_named_error(name, "vfwardend%s went away before it answered: %s", place, why);
        else if (sd_bus_error_has_name(error, SD_BUS_ERROR_NAME_HAS_NO_OWNER) ||
                 sd_bus_error_has_name(error, SD_BUS_ERROR_SERVICE_UNKNOWN))
                print_named_error(name, "vfwardend is not running%s; " CLIENT_HOW_TO_START, place);
        else
                print_named_error(name, "vfwardend cannot be started%s: %s", place, why);
        return exit_code_from_failure(error, r) == EXIT_CODE_ACCESS_DENIED ? EXIT_CODE_ACCESS_DENIED
                                                                           : EXIT_CODE_UNREACHABLE;
}

/* The address of a function that there is, nearest to the one of the run, which there is not. The
 * caller's, or NULL. */
static char *nearest_address(Context *context) {
        g_autoptr(GPtrArray) addresses = g_ptr_array_new();
        g_autoptr(Inventory) inventory = NULL;

        if (!context->address || client_describe(context, CALL_NO_AUTO_START, NULL, &inventory) < 0)
                return NULL;
        for (guint i = 0; i < inventory->functions->len; i++)
                g_ptr_array_add(addresses, (gpointer) function_string(
                                                   inventory->functions->pdata[i], "Address"));
        g_ptr_array_add(addresses, NULL);
        if (inventory_find(inventory, context->address))
                return NULL; /* it has come meanwhile */
        return g_strdup(suggest_nearest(context->address, (const char *const *) addresses->pdata));
}

ExitCode client_fail(Context *context, int r, const sd_bus_error *error, const char *format, ...) {
        ExitCode code = exit_code_from_failure(error, r);
        g_autofree char *meant = NULL;
        va_list arguments;

        if (!context->bus && context->machine && r == -EINVAL) {
                print_error("'%s' is not the name of a container", context->machine);
                return EXIT_CODE_USAGE;
        }
        if (!context->bus && context->host && r == -EINVAL) {
                print_error("'%s' is not the name of a host", context->host);
                return EXIT_CODE_USAGE;
        }
        if (code == EXIT_CODE_UNREACHABLE || !context->bus)
                return fail_unreachable(context, r, error);

        va_start(arguments, format);
        g_autofree char *attempt = g_strdup_vprintf(format, arguments);
        va_end(arguments);

        meant = code == EXIT_CODE_NO_SUCH_FUNCTION ? nearest_address(context) : NULL;
        print_named_error(error ? error->name : NULL, "%s: %s%s%s%s", attempt,
                          error && error->message && *error->message ? error->message
                                                                     : g_strerror(-r),
                          meant ? "; did you mean " : "", meant ? meant : "", meant ? "?" : "");
        return code;
}
