#include "dbus/sleep-inhibitor.h"

#include <glib.h>

#define RETRY_USEC     (5 * 1000 * 1000ULL)
#define PROBLEM        "sleep inhibitor"

#define LOGIND_NAME    "org.freedesktop.login1"
#define LOGIND_PATH    "/org/freedesktop/login1"
#define LOGIND_MANAGER LOGIND_NAME ".Manager"
#define LOGIND_OWNER_RULE                                                           \
        "type='signal',sender='org.freedesktop.DBus',path='/org/freedesktop/DBus'," \
        "interface='org.freedesktop.DBus',member='NameOwnerChanged',arg0='" LOGIND_NAME "'"

struct SleepInhibitor {
        const Bus *bus;
        GHashTable *in_use;        /* of PciKey*, owned */
        sd_bus_slot *owner;        /* tells that logind has started or ended */
        sd_bus_slot *call;         /* to logind, NULL: none is pending */
        sd_bus_message *inhibitor; /* logind's reply, which owns the descriptor; NULL: none */
        sd_event_source *retry;    /* after a failure */
};

static void end_inhibitor(SleepInhibitor *inhibitor) {
        inhibitor->inhibitor = sd_bus_message_unref(inhibitor->inhibitor);
}

SleepInhibitor *sleep_inhibitor_free(SleepInhibitor *inhibitor) {
        if (!inhibitor)
                return NULL;
        sd_bus_slot_unref(inhibitor->owner);
        sd_bus_slot_unref(inhibitor->call);
        sd_event_source_disable_unref(inhibitor->retry);
        end_inhibitor(inhibitor);
        g_hash_table_unref(inhibitor->in_use);
        g_free(inhibitor);
        return NULL;
}

static bool is_inhibitor_wanted(const SleepInhibitor *inhibitor) {
        return g_hash_table_size(inhibitor->in_use) > 0 &&
               manager_inhibits_sleep(inhibitor->bus->manager);
}

static int on_retry_due(sd_event_source *source, uint64_t usec, void *userdata) {
        sleep_inhibitor_update(userdata);
        return 0;
}

/* Virtual machines that just run change nothing after which logind would be asked again. */
static void try_inhibitor_again(SleepInhibitor *inhibitor) {
        sd_event_source_disable_unref(g_steal_pointer(&inhibitor->retry));
        if (sd_event_add_time_relative(sd_bus_get_event(inhibitor->bus->connection),
                                       &inhibitor->retry, CLOCK_MONOTONIC, RETRY_USEC, 0,
                                       on_retry_due, inhibitor) >= 0)
                (void) sd_event_source_set_description(inhibitor->retry,
                                                       "sleep inhibitor: ask logind again");
}

/* `why` is NULL if nothing has failed. */
static void note_inhibitor_result(SleepInhibitor *inhibitor, const char *why) {
        g_autofree char *text =
                why ? g_strdup_printf("Failed to keep the machine from suspend and shutdown: %s",
                                      why)
                    : NULL;

        manager_set_problem(inhibitor->bus->manager, PROBLEM, text);
        if (why)
                try_inhibitor_again(inhibitor);
        else
                sd_event_source_disable_unref(g_steal_pointer(&inhibitor->retry));
}

static int on_logind_reply(sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        SleepInhibitor *inhibitor = userdata;
        const sd_bus_error *refusal = sd_bus_message_get_error(reply);

        inhibitor->call = sd_bus_slot_unref(inhibitor->call);
        note_inhibitor_result(inhibitor, refusal ? refusal->message : NULL);
        if (!refusal)
                inhibitor->inhibitor = sd_bus_message_ref(reply);
        if (!is_inhibitor_wanted(inhibitor))
                sleep_inhibitor_update(inhibitor);
        return 0;
}

void sleep_inhibitor_update(SleepInhibitor *inhibitor) {
        int r;

        if (!is_inhibitor_wanted(inhibitor)) {
                end_inhibitor(inhibitor);
                note_inhibitor_result(inhibitor, NULL);
                return;
        }
        if (inhibitor->inhibitor || inhibitor->call)
                return;
        r = sd_bus_call_method_async(inhibitor->bus->connection, &inhibitor->call, LOGIND_NAME,
                                     LOGIND_PATH, LOGIND_MANAGER, "Inhibit", on_logind_reply,
                                     inhibitor, "ssss", "sleep:shutdown", "vfwardend",
                                     "PCI functions are in use", "block");
        if (r < 0)
                note_inhibitor_result(inhibitor, g_strerror(-r));
}

void sleep_inhibitor_note(SleepInhibitor *inhibitor, const Function *function) {
        PciKey key = function->facts.key;

        if (function_in_use(function) == g_hash_table_contains(inhibitor->in_use, &key))
                return;
        if (function_in_use(function))
                g_hash_table_add(inhibitor->in_use, g_memdup2(&key, sizeof(key)));
        else
                g_hash_table_remove(inhibitor->in_use, &key);
        sleep_inhibitor_update(inhibitor);
}

void sleep_inhibitor_forget(SleepInhibitor *inhibitor, const Function *function) {
        if (g_hash_table_remove(inhibitor->in_use, &function->facts.key))
                sleep_inhibitor_update(inhibitor);
}

/* A logind that starts anew has forgotten the inhibitors of the one before, whose descriptors stay
 * open and mean nothing. */
static int on_logind_owner(sd_bus_message *signal, void *userdata, sd_bus_error *error) {
        SleepInhibitor *inhibitor = userdata;
        const char *name, *before, *now;

        if (sd_bus_message_read(signal, "sss", &name, &before, &now) < 0)
                return 0;
        inhibitor->call = sd_bus_slot_unref(inhibitor->call);
        end_inhibitor(inhibitor);
        if (now[0] != '\0')
                sleep_inhibitor_update(inhibitor);
        return 0;
}

int sleep_inhibitor_new(const Bus *bus, SleepInhibitor **ret) {
        SleepInhibitor *inhibitor = g_new0(SleepInhibitor, 1);
        int r;

        inhibitor->bus = bus;
        inhibitor->in_use = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
        r = sd_bus_add_match_async(bus->connection, &inhibitor->owner, LOGIND_OWNER_RULE,
                                   on_logind_owner, NULL, inhibitor);
        if (r < 0) {
                sleep_inhibitor_free(inhibitor);
                return r;
        }
        *ret = inhibitor;
        return 0;
}
