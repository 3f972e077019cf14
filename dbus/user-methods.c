/* ListUsers() and DescribeUsers(). */
#include "dbus/error.h"
#include "dbus/interface.h"

#include <errno.h>

typedef int AppendUser(sd_bus_message *reply, const char *address, const User *user,
                       const char *command);

/* The command of a user as far as the caller may see it: root sees all, others their own. */
static const char *visible_command(const MethodCall *call, const User *user) {
        return call->uid == 0 || call->uid == user->uid ? user->command : "";
}

static int append_record(sd_bus_message *reply, const char *address, const User *user,
                         const char *command) {
        return sd_bus_message_append(reply, "(suuss)", address, user->pid, user->uid, command,
                                     user->unit);
}

static int append_entry(sd_bus_message *reply, const char *key, const char *type, unsigned value) {
        return sd_bus_message_append(reply, "{sv}", key, type, value);
}

static int append_dictionary(sd_bus_message *reply, const char *address, const User *user,
                             const char *command) {
        int r;

        r = sd_bus_message_open_container(reply, 'a', "{sv}");
        if (r < 0)
                return r;
        r = sd_bus_message_append(reply, "{sv}{sv}{sv}{sv}{sv}{sv}{sv}{sv}{sv}", "address", "s",
                                  address, "pid", "u", user->pid, "uid", "u", user->uid, "command",
                                  "s", command, "unit", "s", user->unit, "machine", "s",
                                  user->machine, "since", "t", user->since_usec, "session", "b",
                                  (int) user->session, "brokered", "b", (int) user->brokered);
        if (r >= 0 && user->unknown)
                r = append_entry(reply, "unknown", "b", user->unknown);
        if (r >= 0 && user->n_others > 0)
                r = append_entry(reply, "others", "u", user->n_others);
        return r < 0 ? r : sd_bus_message_close_container(reply);
}

static int append_users(const MethodCall *call, sd_bus_message *reply, const Function *function,
                        AppendUser *append) {
        char address[PCI_ADDRESS_STRING_MAX];
        int r = 0;

        pci_address_format(function_address(function), address);
        for (guint i = 0; r >= 0 && function->users && i < function->users->len; i++) {
                const User *user = function->users->pdata[i];

                r = append(reply, address, user, visible_command(call, user));
        }
        return r;
}

/* Replies with the users of `functions`, each appended as an element of the type `element`. */
static int reply_users(const MethodCall *call, const GPtrArray *functions, const char *element,
                       AppendUser *append) {
        sd_bus_message *reply = NULL;
        int r;

        r = sd_bus_message_new_method_return(call->message, &reply);
        if (r >= 0)
                r = sd_bus_message_open_container(reply, 'a', element);
        for (guint i = 0; r >= 0 && i < functions->len; i++)
                r = append_users(call, reply, functions->pdata[i], append);
        if (r >= 0)
                r = sd_bus_message_close_container(reply);
        if (r >= 0)
                r = sd_bus_message_send(reply);
        sd_bus_message_unref(reply);
        return r;
}

/* Neither these nor Check() look at processes anew. Events keep the picture true to some milliseconds, guarded
 * operations look again by themselves, and reading is free to everybody: nobody should be able to make the daemon walk
 * through /proc as often as they like. */

int manager_list_users(const MethodCall *call, sd_bus_error *error) {
        g_autoptr(GPtrArray) functions = inventory_sorted(manager_inventory(call->bus->manager));

        return reply_users(call, functions, "(suuss)", append_record);
}

int manager_describe_users(const MethodCall *call, sd_bus_error *error) {
        g_autoptr(GPtrArray) functions = NULL;
        Function *function;
        const char *text;
        int r;

        r = sd_bus_message_read(call->message, "s", &text);
        if (r < 0)
                return r;
        if (text[0] == '\0')
                functions = inventory_sorted(manager_inventory(call->bus->manager));
        else {
                r = method_find_function(call, text, &function, error);
                if (r < 0)
                        return r;
                functions = g_ptr_array_new();
                g_ptr_array_add(functions, function);
        }
        return reply_users(call, functions, "a{sv}", append_dictionary);
}
