#include "dbus/senders.h"

#include "daemon/base/log.h"
#include "dbus/request-log.h"

#include <errno.h>
#include <glib.h>
#include <stdbool.h>

#define UID_UNKNOWN UINT32_MAX

/* An empty arg2 is a name that lost its owner. One match for all: dbus-daemon allows 512 for each
 * connection (max_match_rules_per_connection), which one client's calls could use up. */
#define DEPARTURES                                                       \
        "type='signal',sender='org.freedesktop.DBus',"                   \
        "path='/org/freedesktop/DBus',interface='org.freedesktop.DBus'," \
        "member='NameOwnerChanged',arg2=''"

typedef struct Waiter {
        SenderFound *found;
        void *userdata;
} Waiter;

typedef struct Watcher {
        SenderLeft *left;
        void *userdata;
} Watcher;

typedef struct Entry {
        Senders *senders;
        char *name;
        Sender sender;         /* once there is no `question` */
        sd_bus_slot *question; /* to the bus, pending */
        GArray *waiters;       /* of Waiter, while there is a `question` */
} Entry;

struct Senders {
        sd_bus *questions;
        sd_bus_slot *departures;
        GHashTable *entries; /* name, borrowed from the Entry -> Entry, owned */
        GArray *watchers;    /* of Watcher */
};

static void senders_entry_free(gpointer data) {
        Entry *entry = data;

        sd_bus_slot_unref(entry->question);
        g_array_unref(entry->waiters);
        g_free(entry->name);
        g_free(entry);
}

static void entry_answer(GArray *waiters, int result, const Sender *sender) {
        for (guint i = 0; i < waiters->len; i++) {
                const Waiter *waiter = &g_array_index(waiters, Waiter, i);

                waiter->found(waiter->userdata, result, sender);
        }
}

/* The waiters may do anything, hence the entry is not touched after they began to run. */
static void entry_end(Entry *entry, int result) {
        g_autoptr(GArray) waiters = g_array_ref(entry->waiters);

        g_hash_table_remove(entry->senders->entries, entry->name);
        entry_answer(waiters, result, NULL);
}

static int on_name_lost(sd_bus_message *signal, void *userdata, sd_bus_error *error) {
        Senders *senders = userdata;
        const char *name, *before, *now;
        Entry *entry;

        if (sd_bus_message_read(signal, "sss", &name, &before, &now) < 0 || now[0] != '\0')
                return 0;
        entry = g_hash_table_lookup(senders->entries, name);
        if (entry)
                entry_end(entry, -ENXIO);
        for (guint i = 0; i < senders->watchers->len; i++) {
                const Watcher *watcher = &g_array_index(senders->watchers, Watcher, i);

                watcher->left(watcher->userdata, name);
        }
        return 0;
}

int senders_new(sd_bus *connection, sd_bus *questions, Senders **ret) {
        Senders *senders = g_new0(Senders, 1);
        int r;

        senders->questions = questions;
        senders->entries = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, senders_entry_free);
        senders->watchers = g_array_new(FALSE, FALSE, sizeof(Watcher));
        r = sd_bus_add_match(connection, &senders->departures, DEPARTURES, on_name_lost, senders);
        if (r < 0) {
                senders_free(senders);
                return r;
        }
        *ret = senders;
        return 0;
}

static gboolean is_pending(gpointer name, gpointer entry, gpointer unused) {
        return ((const Entry *) entry)->question != NULL;
}

Senders *senders_free(Senders *senders) {
        Entry *entry;

        if (!senders)
                return NULL;
        sd_bus_slot_unref(senders->departures);
        while ((entry = g_hash_table_find(senders->entries, is_pending, NULL)))
                entry_end(entry, -ECANCELED);
        g_hash_table_unref(senders->entries);
        g_array_unref(senders->watchers);
        g_free(senders);
        return NULL;
}

/* Takes UnixUserID and ProcessID from the credentials. Returns 0, or a negative errno when the uid
 * is not among them. */
static int read_credentials(sd_bus_message *reply, Sender *ret) {
        Sender sender = { .uid = UID_UNKNOWN };
        const char *name;
        int r;

        r = sd_bus_message_enter_container(reply, 'a', "{sv}");
        while (r >= 0 && (r = sd_bus_message_enter_container(reply, 'e', "sv")) > 0) {
                r = sd_bus_message_read(reply, "s", &name);
                if (r >= 0 && g_str_equal(name, "UnixUserID"))
                        r = sd_bus_message_read(reply, "v", "u", &sender.uid);
                else if (r >= 0 && g_str_equal(name, "ProcessID"))
                        r = sd_bus_message_read(reply, "v", "u", &sender.pid);
                else if (r >= 0)
                        r = sd_bus_message_skip(reply, "v");
                if (r >= 0)
                        r = sd_bus_message_exit_container(reply);
        }
        if (r < 0)
                return r;
        if (sender.uid == UID_UNKNOWN)
                return -ENODATA;
        request_log_read_command(sender.pid, sender.command);
        *ret = sender;
        return 0;
}

static int on_credentials(sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        Entry *entry = userdata;
        g_autoptr(GArray) waiters = NULL;
        Sender sender;
        int r;

        if (sd_bus_message_is_method_error(reply, SD_BUS_ERROR_NAME_HAS_NO_OWNER))
                r = -ENXIO;
        else if (sd_bus_message_is_method_error(reply, NULL))
                r = -sd_bus_message_get_errno(reply);
        else
                r = read_credentials(reply, &entry->sender);
        if (r < 0) {
                entry_end(entry, r);
                return 0;
        }
        entry->question = sd_bus_slot_unref(entry->question);
        waiters = g_steal_pointer(&entry->waiters);
        entry->waiters = g_array_new(FALSE, FALSE, sizeof(Waiter));
        sender = entry->sender; /* a waiter may make room for another client */
        entry_answer(waiters, 0, &sender);
        return 0;
}

static gboolean is_remembered(gpointer name, gpointer entry, gpointer unused) {
        return !is_pending(name, entry, NULL);
}

/* Forgets some client: those that are waited for are as few as the bus has connections. */
static void senders_make_room(Senders *senders) {
        const Entry *victim;

        if (g_hash_table_size(senders->entries) < SENDERS_MAX)
                return;
        victim = g_hash_table_find(senders->entries, is_remembered, NULL);
        if (victim)
                g_hash_table_remove(senders->entries, victim->name);
}

static Entry *senders_entry_new(Senders *senders, const char *name) {
        Entry *entry = g_new0(Entry, 1);

        senders_make_room(senders);
        entry->senders = senders;
        entry->name = g_strdup(name);
        entry->waiters = g_array_new(FALSE, FALSE, sizeof(Waiter));
        g_hash_table_insert(senders->entries, entry->name, entry);
        return entry;
}

void senders_find(Senders *senders, const char *name, SenderFound *found, void *userdata) {
        Entry *entry = g_hash_table_lookup(senders->entries, name);
        Waiter waiter = { found, userdata };
        int r;

        if (entry && !entry->question) {
                Sender sender = entry->sender;

                found(userdata, 0, &sender);
                return;
        }
        if (!entry) {
                entry = senders_entry_new(senders, name);
                r = sd_bus_call_method_async(senders->questions, &entry->question,
                                             "org.freedesktop.DBus", "/org/freedesktop/DBus",
                                             "org.freedesktop.DBus", "GetConnectionCredentials",
                                             on_credentials, entry, "s", name);
                if (r < 0) {
                        log_warning("Failed to ask the bus for the user of %s: %s", name,
                                    g_strerror(-r));
                        g_array_append_val(entry->waiters, waiter);
                        entry_end(entry, r);
                        return;
                }
        }
        if (entry->waiters->len >= SENDERS_WAITERS_MAX)
                found(userdata, -EDQUOT, NULL);
        else
                g_array_append_val(entry->waiters, waiter);
}

const Sender *senders_peek(const Senders *senders, const char *name) {
        const Entry *entry = g_hash_table_lookup(senders->entries, name);

        return entry && !entry->question ? &entry->sender : NULL;
}

void senders_watch(Senders *senders, SenderLeft *left, void *userdata) {
        Watcher watcher = { left, userdata };

        g_array_append_val(senders->watchers, watcher);
}
