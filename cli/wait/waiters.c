#include "cli/wait/waiters.h"

#include "cli/client.h"
#include "cli/holders.h"
#include "cli/value.h"

/* Whether the user or inhibitor holds the function or, if it is a PF, a VF of it. */
static bool holds(const Inventory *inventory, JsonObject *holder, const char *address) {
        const char *held = function_string(holder, "Address");
        JsonObject *function = inventory_find(inventory, held);

        return g_str_equal(held, address) ||
               (function && g_str_equal(function_string(function, "PhysicalFunction"), address));
}

int waiters_list(Context *context, const char *address, sd_bus_error *ret_error, JsonArray **ret) {
        g_autoptr(JsonArray) users = NULL, inhibitors = NULL, waiters = NULL;
        g_autoptr(Inventory) inventory = NULL;
        int r;

        r = client_describe(context, 0, ret_error, &inventory);
        if (r >= 0)
                r = holders_list_users(context, "", 0, ret_error, &users);
        if (r >= 0)
                r = holders_list_inhibitors(context, 0, ret_error, &inhibitors);
        if (r < 0)
                return r;

        waiters = json_array_new();
        for (guint i = 0; i < json_array_get_length(users); i++) {
                JsonObject *user = json_array_get_object_element(users, i);

                if (holds(inventory, user, address))
                        json_array_add_object_element(waiters, json_object_ref(user));
        }
        for (guint i = 0; i < json_array_get_length(inhibitors); i++) {
                JsonObject *inhibitor = json_array_get_object_element(inhibitors, i);

                if (inhibitor_delays(inhibitor) && holds(inventory, inhibitor, address))
                        json_array_add_object_element(waiters, json_object_ref(inhibitor));
        }
        *ret = g_steal_pointer(&waiters);
        return 0;
}

bool waiter_delays(JsonObject *waiter) {
        return inhibitor_delays(waiter);
}

bool waiters_any_delays(JsonArray *waiters) {
        for (guint i = 0; i < json_array_get_length(waiters); i++)
                if (waiter_delays(json_array_get_object_element(waiters, i)))
                        return true;
        return false;
}

char *waiter_describe(JsonObject *waiter) {
        g_autofree char *who =
                waiter_delays(waiter) ? inhibitor_describe(waiter) : holder_describe(waiter);
        g_autofree char *since = value_format_time(function_integer(waiter, "Since", 0));

        return g_strdup_printf("  %s  %s%s%s", function_string(waiter, "Address"), who,
                               since ? ", since " : "", since ? since : "");
}

void waiters_print(Output *output, JsonArray *waiters) {
        for (guint i = 0; i < json_array_get_length(waiters); i++) {
                g_autofree char *line = waiter_describe(json_array_get_object_element(waiters, i));

                output_text(output, STYLE_PLAIN, line);
                output_format(output, "\n");
        }
}
