#include "dbus/call-functions.h"

#include "dbus/path.h"

Function *call_functions_called(const MethodCall *call) {
        PciKey key;

        if (function_path_parse(sd_bus_message_get_path(call->message), &key) < 0)
                return NULL;
        return inventory_get(manager_inventory(call->bus->manager), key);
}

static Function *named_function(const MethodCall *call, const char *text) {
        PciAddress address;

        if (pci_address_parse(text, &address) < 0)
                return NULL;
        return inventory_get(manager_inventory(call->bus->manager), pci_address_key(address));
}

/* NULL for those that do not exist: the others keep their numbers. */
static GPtrArray *call_functions_list_functions(const MethodCall *call) {
        GPtrArray *functions = g_ptr_array_new();
        const char *text;

        if (sd_bus_message_enter_container(call->message, 'a', "s") >= 0)
                while (functions->len < CALL_FUNCTIONS_MAX &&
                       sd_bus_message_read(call->message, "s", &text) > 0)
                        g_ptr_array_add(functions, named_function(call, text));
        (void) sd_bus_message_rewind(call->message, true);
        return functions;
}

static Function *find_single(const MethodCall *call) {
        Function *function = NULL;
        const char *text;

        if (!call->method || !call->method->names)
                return call_functions_called(call);
        if (sd_bus_message_read(call->message, "s", &text) > 0)
                function = named_function(call, text);
        (void) sd_bus_message_rewind(call->message, true);
        return function;
}

bool call_functions_select(MethodCall *call, unsigned n) {
        g_autoptr(GPtrArray) functions = NULL;
        const Function *function;

        if (call->method && call->method->several) {
                functions = call_functions_list_functions(call);
                if (n >= functions->len)
                        return false;
                function = functions->pdata[n];
        } else {
                if (n > 0)
                        return false;
                function = find_single(call);
        }
        call->key = function ? function->facts.key : 0;
        call->inode = function ? function->facts.inode : 0;
        return true;
}

GPtrArray *call_functions_find(const MethodCall *call) {
        g_autoptr(GPtrArray) listed = NULL;
        GPtrArray *found = g_ptr_array_new();
        Function *function = NULL;

        if (call->method->several) {
                listed = call_functions_list_functions(call);
                for (guint i = 0; i < listed->len; i++)
                        if (listed->pdata[i])
                                g_ptr_array_add(found, listed->pdata[i]);
                return found;
        }
        if (call->inode != 0)
                function = inventory_get(manager_inventory(call->bus->manager), call->key);
        if (function)
                g_ptr_array_add(found, function);
        return found;
}
