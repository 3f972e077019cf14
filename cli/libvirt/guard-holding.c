#include "cli/libvirt/guard-holding.h"

#include "cli/cleanup.h"
#include "cli/libvirt/guard-answer.h"
#include "cli/value.h"
#include "lib/addressed-signals.h"

#include <errno.h>
#include <unistd.h>

typedef struct HeldFunction {
        char *address;
        char *path;
        bool used;     /* it was in use meanwhile */
        bool released; /* and is no more: the domain has released it */
} HeldFunction;

static void held_function_free(gpointer data) {
        HeldFunction *function = data;

        g_free(function->address);
        g_free(function->path);
        g_free(function);
}

static void see_use(Holding *holding, HeldFunction *function, bool in_use) {
        if (in_use)
                function->used = true;
        else if (function->used && !function->released) {
                function->released = true;
                holding->stale = true;
        }
}

static HeldFunction *find_path(const Holding *holding, const char *path) {
        for (guint i = 0; i < holding->functions->len; i++) {
                HeldFunction *function = holding->functions->pdata[i];

                if (g_str_equal(function->path, path))
                        return function;
        }
        return NULL;
}

static int on_properties_changed(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        Holding *holding = userdata;
        HeldFunction *function = find_path(holding, sd_bus_message_get_path(message));
        g_autoptr(JsonObject) properties = json_object_new();

        if (function && sd_bus_message_skip(message, "s") >= 0 &&
            value_read_properties(message, properties) >= 0 &&
            json_object_has_member(properties, "InUse"))
                see_use(holding, function, function_flag(properties, "InUse"));
        return 0;
}

/* In an external removal, which has no deadline, the kernel asks QEMU. */
static int on_unplug_requested(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        const Holding *holding = userdata;
        const HeldFunction *function = find_path(holding, sd_bus_message_get_path(message));
        uint64_t deadline_usec;

        if (function && !function->released &&
            sd_bus_message_read(message, "t", &deadline_usec) >= 0 && deadline_usec != 0)
                (void) guard_answer(holding->context.bus, function->path, holding->who);
        return 0;
}

/* Asks what signals will tell from now on. What cannot be asked is as before. */
static void look(Holding *holding) {
        for (guint i = 0; i < holding->functions->len; i++) {
                HeldFunction *function = holding->functions->pdata[i];
                int in_use;

                if (sd_bus_get_property_trivial(holding->context.bus, CLIENT_BUS_NAME,
                                                function->path, CLIENT_FUNCTION, "InUse", NULL, 'b',
                                                &in_use) >= 0)
                        see_use(holding, function, in_use);
        }
}

/* A daemon that has started: what happened while there was none, it has not told. */
static int on_daemon_changed(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        const char *name, *before, *after;

        if (sd_bus_message_read(message, "sss", &name, &before, &after) >= 0 && *after)
                look(userdata);
        return 0;
}

static int watch(Holding *holding) {
        sd_bus *bus = holding->context.bus;
        int r = addressed_signals_drop(bus);

        if (r >= 0)
                r = sd_bus_add_match_async(bus, NULL,
                                           "type='signal',sender='" CLIENT_BUS_NAME "',"
                                           "interface='org.freedesktop.DBus.Properties',"
                                           "member='PropertiesChanged',arg0='" CLIENT_FUNCTION "'",
                                           on_properties_changed, NULL, holding);
        if (r >= 0)
                r = sd_bus_match_signal_async(bus, NULL, CLIENT_BUS_NAME, NULL, CLIENT_FUNCTION,
                                              "UnplugRequested", on_unplug_requested, NULL,
                                              holding);
        if (r >= 0)
                r = sd_bus_add_match_async(
                        bus, NULL,
                        "type='signal',sender='org.freedesktop.DBus',"
                        "interface='org.freedesktop.DBus',member='NameOwnerChanged',"
                        "arg0='" CLIENT_BUS_NAME "'",
                        on_daemon_changed, NULL, holding);
        return r;
}

static int holding_add_function(Holding *holding, const char *address) {
        HeldFunction *function = g_new0(HeldFunction, 1);

        g_ptr_array_add(holding->functions, function);
        function->address = g_strdup(address);
        return sd_bus_path_encode(CLIENT_ROOT "/function", address, &function->path);
}

/* Those that the domain has not released. */
static GPtrArray *list_addresses(const Holding *holding) {
        GPtrArray *addresses = g_ptr_array_new();

        for (guint i = 0; i < holding->functions->len; i++) {
                const HeldFunction *function = holding->functions->pdata[i];

                if (!function->released)
                        g_ptr_array_add(addresses, function->address);
        }
        return addresses;
}

int holding_begin(Holding *holding, const Domain *domain, const char *who) {
        g_autoptr(GPtrArray) addresses = NULL;
        int r = 0;

        holding->who = who;
        holding->functions = g_ptr_array_new_with_free_func(held_function_free);
        for (guint i = 0; r >= 0 && i < domain->functions->len; i++)
                r = holding_add_function(
                        holding, ((const DomainFunction *) domain->functions->pdata[i])->address);
        if (r >= 0)
                r = client_connect(&holding->context);
        if (r >= 0)
                r = watch(holding);
        if (r < 0)
                return r;
        addresses = list_addresses(holding);
        return claim_begin(&holding->context, addresses, who, &holding->claim);
}

/* An inhibitor on the functions that are left takes the place of the one on all. If there is none
 * to be had, the old one stays, and the next event is another try. */
static void renew(Holding *holding) {
        g_autoptr(GPtrArray) addresses = list_addresses(holding);
        Claim claim;
        int r;

        holding->stale = false;
        r = claim_begin(&holding->context, addresses, holding->who, &claim);
        if (r >= 0)
                r = claim_finish(&holding->context, &claim, NULL);
        if (r < 0) {
                holding->stale = true;
                claim_done(&claim);
                return;
        }
        claim_done(&holding->claim);
        holding->claim = claim;
}

static bool is_all_released(const Holding *holding) {
        g_autoptr(GPtrArray) addresses = list_addresses(holding);

        return addresses->len == 0;
}

void holding_keep(Holding *holding) {
        sd_bus *bus = holding->context.bus;
        int r = 0;

        look(holding);
        while (r >= 0 && !is_all_released(holding)) {
                if (holding->stale)
                        renew(holding);
                r = sd_bus_process(bus, NULL);
                if (r == 0)
                        r = sd_bus_wait(bus, UINT64_MAX);
                if (r == -EINTR)
                        r = 0;
        }
        while (!is_all_released(holding)) /* the bus has gone; the inhibitor has not */
                (void) pause();
}
