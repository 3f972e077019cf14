/* Open() and GetVfToken(): what they hand out is in their replies and nowhere else. */
#include "dbus/error.h"
#include "dbus/interfaces/interface.h"

#include <errno.h>

static int append_peers(sd_bus_message *reply, const MethodCall *call, const Function *function) {
        const GPtrArray *group =
                inventory_group(manager_inventory(call->bus->manager), function->facts.iommu_group);
        char address[PCI_ADDRESS_STRING_MAX];
        int r;

        r = sd_bus_message_open_container(reply, 'e', "sv");
        if (r >= 0)
                r = sd_bus_message_append(reply, "s", "group-peers");
        if (r >= 0)
                r = sd_bus_message_open_container(reply, 'v', "as");
        if (r >= 0)
                r = sd_bus_message_open_container(reply, 'a', "s");
        for (guint i = 0; r >= 0 && group && i < group->len; i++) {
                const Function *peer = group->pdata[i];

                if (peer != function)
                        r = sd_bus_message_append(
                                reply, "s", pci_address_format(function_address(peer), address));
        }
        for (int i = 0; r >= 0 && i < 3; i++)
                r = sd_bus_message_close_container(reply);
        return r;
}

/* Who waits for a descriptor. */
typedef struct OpenReply {
        MethodReply *reply;
        MethodCall call; /* `message` is not ours */
} OpenReply;

static int open_append_facts(sd_bus_message *reply, const MethodCall *call,
                             const ManagerOpen *open) {
        const Function *function = inventory_get(manager_inventory(call->bus->manager), call->key);
        int r;

        if (!function)
                return -ENODEV;
        r = sd_bus_message_open_container(reply, 'a', "{sv}");
        if (r >= 0)
                r = sd_bus_message_append(reply, "{sv}{sv}{sv}{sv}", "kind", "s",
                                          lease_kind_to_string(open->lease->kind), "generation",
                                          "t", open->lease->generation, "group", "i",
                                          function->facts.iommu_group, "receipt", "h",
                                          open->delivery_pipe);
        if (r >= 0)
                r = append_peers(reply, call, function);
        if (r >= 0 && open->iommufd >= 0)
                r = sd_bus_message_append(reply, "{sv}", "iommufd", "h", open->iommufd);
        if (r >= 0 && open->token)
                r = sd_bus_message_append(reply, "{sv}", "vf-token", "s", open->token);
        if (r >= 0 && function->msi)
                r = sd_bus_message_append(reply, "{sv}", "msix-table-mappable", "b",
                                          (int) function_msix_table_mappable(function));
        return r < 0 ? r : sd_bus_message_close_container(reply);
}

static void on_open_done(void *context, int result, const char *message, const ManagerOpen *open) {
        g_autofree OpenReply *waiting = context;
        sd_bus_message *values;
        int r;

        if (!method_reply_begin(waiting->reply, result, message, &values))
                return;
        r = sd_bus_message_sensitive(values);
        if (r >= 0)
                r = sd_bus_message_append(values, "h", open->fd);
        if (r >= 0)
                r = open_append_facts(values, &waiting->call, open);
        method_reply_with(waiting->reply, values, r);
}

int function_method_open(const MethodCall *call, sd_bus_error *error) {
        Function *function = method_function(call, error);
        ManagerOpener opener = { call->uid, call->pid, _LEASE_KIND_INVALID };
        const char *kind = NULL;
        OpenReply *waiting;
        MethodReply *reply;
        int r;

        if (!function)
                return -ENODEV;
        r = method_read_options(call->message,
                                (const MethodOption[]){ { "kind", "s", &kind }, { NULL } }, error);
        if (r < 0)
                return r;
        if (kind)
                opener.kind = lease_kind_from_string(kind);
        if (kind && (int) opener.kind < 0)
                return bus_error_set(error, -EINVAL,
                                     "the option 'kind' is \"group\" or \"device\"");
        reply = method_reply_later(call, error);
        if (!reply)
                return -EDQUOT;
        waiting = g_new(OpenReply, 1);
        *waiting = (OpenReply){ reply, *call };
        waiting->call.message = NULL;
        manager_open(call->bus->manager, function, &opener, on_open_done, waiting);
        return 1;
}

static void on_token(void *context, int result, const char *message, const char *token) {
        MethodReply *reply = context;
        sd_bus_message *values;
        int r;

        if (!method_reply_begin(reply, result, message, &values))
                return;
        r = sd_bus_message_sensitive(values);
        if (r >= 0)
                r = sd_bus_message_append(values, "s", token);
        method_reply_with(reply, values, r);
}

int physical_function_method_get_vf_token(const MethodCall *call, sd_bus_error *error) {
        Function *pf = method_function(call, error);
        MethodReply *reply;

        if (!pf)
                return -ENODEV;
        reply = method_reply_later(call, error);
        if (!reply)
                return -EDQUOT;
        manager_get_vf_token(call->bus->manager, pf, on_token, reply);
        return 1;
}
