#include "cli/wait/waiters.h"

#include "cli/cleanup.h"
#include "cli/client.h"
#include "cli/holders.h"
#include "cli/value.h"

/* A list in the making. */
typedef struct Search {
        Context *context;
        const char *address;
        sd_bus_error *error;
        Inventory *inventory; /* owned; NULL until a holder has another address */
        JsonArray *waiters;
} Search;

static void search_done(Search *search) {
        g_clear_pointer(&search->inventory, inventory_free);
        g_clear_pointer(&search->waiters, json_array_unref);
}

/* Adds the user or inhibitor if it holds the function or, if that is a PF, a VF of it. Which PF a
 * VF has is in the inventory alone, and that is large: it is asked for only then. */
static int search_add(Search *search, JsonObject *holder) {
        const char *held = function_string(holder, "Address");
        JsonObject *function;
        int r;

        if (!g_str_equal(held, search->address)) {
                r = search->inventory ? 0
                                      : client_describe(search->context, 0, search->error,
                                                        &search->inventory);
                if (r < 0)
                        return r;
                function = inventory_find(search->inventory, held);
                if (!function ||
                    !g_str_equal(function_string(function, "PhysicalFunction"), search->address))
                        return 0;
        }
        json_array_add_object_element(search->waiters, json_object_ref(holder));
        return 0;
}

int waiters_list(Context *context, const char *address, sd_bus_error *ret_error, JsonArray **ret) {
        g_autoptr(JsonArray) users = NULL, inhibitors = NULL;
        _cleanup_(search_done)
                Search search = { .context = context, .address = address, .error = ret_error };
        int r;

        search.waiters = json_array_new();
        r = holders_list_users(context, "", 0, ret_error, &users);
        if (r >= 0)
                r = holders_list_inhibitors(context, 0, ret_error, &inhibitors);
        for (guint i = 0; r >= 0 && i < json_array_get_length(users); i++)
                r = search_add(&search, json_array_get_object_element(users, i));
        for (guint i = 0; r >= 0 && i < json_array_get_length(inhibitors); i++) {
                JsonObject *inhibitor = json_array_get_object_element(inhibitors, i);

                if (inhibitor_delays(inhibitor))
                        r = search_add(&search, inhibitor);
        }
        if (r < 0)
                return r;
        *ret = g_steal_pointer(&search.waiters);
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
