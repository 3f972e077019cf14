#include "daemon/guard/inhibitors.h"

#include "daemon/base/client-pipe.h"
#include "daemon/base/log.h"
#include "daemon/guard/records.h"
#include "policy/root-share.h"
#include "policy/topology.h"

#include <errno.h>

/* The name of its pipe in systemd's store, before its number. */
#define PIPE_KIND "inhibitor"

/* Of one inhibitor that has ended so many functions have a line of the log each. */
#define LOGGED_MAX ((size_t) 64)

typedef struct Entry {
        Inhibitors *inhibitors;
        Inhibitor inhibitor; /* strings owned */
        PciKey *keys;        /* owned, each once */
        size_t n_keys;
        uint64_t number; /* counts up, never used again */
        ClientPipe *pipe;
} Entry;

struct Inhibitors {
        sd_event *event;
        FdStore *store;
        Inventory *inventory;
        InhibitorsEnded *ended;
        void *context;
        GPtrArray *entries; /* of Entry*, owned, in order of their numbers */
        uint64_t next_number;
};

static void inhibitor_entry_free(gpointer data) {
        Entry *entry = data;

        client_pipe_free(entry->pipe);
        g_free(entry->inhibitor.who);
        g_free(entry->inhibitor.why);
        g_free(entry->keys);
        g_free(entry);
}

Inhibitors *inhibitors_new(sd_event *event, Inventory *inventory, FdStore *store,
                           InhibitorsEnded *ended, void *context) {
        Inhibitors *inhibitors = g_new0(Inhibitors, 1);

        inhibitors->event = sd_event_ref(event);
        inhibitors->inventory = inventory;
        inhibitors->store = store;
        inhibitors->ended = ended;
        inhibitors->context = context;
        inhibitors->entries = g_ptr_array_new_with_free_func(inhibitor_entry_free);
        inhibitors->next_number = 1;
        return inhibitors;
}

Inhibitors *inhibitors_free(Inhibitors *inhibitors) {
        if (!inhibitors)
                return NULL;
        g_ptr_array_unref(inhibitors->entries);
        sd_event_unref(inhibitors->event);
        g_free(inhibitors);
        return NULL;
}

static void attach(Function *function, Entry *entry) {
        if (!function->inhibitors)
                function->inhibitors = g_ptr_array_new();
        g_ptr_array_add(function->inhibitors, &entry->inhibitor);
        topology_update(function);
}

static void detach(Entry *entry) {
        for (size_t i = 0; i < entry->n_keys; i++) {
                Function *function = inventory_get(entry->inhibitors->inventory, entry->keys[i]);

                if (function && function->inhibitors) {
                        g_ptr_array_remove(function->inhibitors, &entry->inhibitor);
                        topology_update(function);
                }
        }
}

static void end(Entry *entry) {
        Inhibitors *inhibitors = entry->inhibitors;

        detach(entry);
        entry->pipe = client_pipe_drop(entry->pipe);
        g_ptr_array_remove(inhibitors->entries, entry);
}

static void log_ended(const Entry *entry) {
        for (size_t i = 0; i < MIN(entry->n_keys, LOGGED_MAX); i++) {
                PciAddress address = pci_address_from_key(entry->keys[i]);

                log_full(LOG_INFO, &address, NULL, "%s no longer inhibits anything",
                         entry->inhibitor.who);
        }
        if (entry->n_keys > LOGGED_MAX)
                log_info("%s no longer inhibits anything on %zu more functions",
                         entry->inhibitor.who, entry->n_keys - LOGGED_MAX);
}

/* The client closed its end. */
static void on_closed(void *context) {
        Entry *entry = context;
        Inhibitors *inhibitors = entry->inhibitors;
        size_t n_keys = entry->n_keys;
        g_autofree PciKey *keys = g_memdup2(entry->keys, n_keys * sizeof(*keys));

        log_ended(entry);
        end(entry);
        inhibitors->ended(inhibitors->context, keys, n_keys);
}

static Entry *entry_new(Inhibitors *inhibitors, const PciKey *keys, size_t n_keys,
                        const Inhibitor *inhibitor, uint64_t number) {
        Entry *entry = g_new0(Entry, 1);

        entry->inhibitors = inhibitors;
        entry->inhibitor = *inhibitor;
        entry->inhibitor.who = g_strdup(inhibitor->who);
        entry->inhibitor.why = g_strdup(inhibitor->why);
        entry->keys = g_memdup2(keys, n_keys * sizeof(*keys));
        entry->n_keys = n_keys;
        entry->number = number;
        return entry;
}

/* It has its pipe, and is in effect from now on. */
static void add_entry(Inhibitors *inhibitors, Entry *entry) {
        g_ptr_array_add(inhibitors->entries, entry);
        for (size_t i = 0; i < entry->n_keys; i++) {
                Function *function = inventory_get(inhibitors->inventory, entry->keys[i]);

                if (function)
                        attach(function, entry);
        }
}

bool inhibitors_have_room(const Inhibitors *inhibitors, uint32_t uid, size_t more) {
        size_t n_all = 0, n_own = 0;

        for (guint i = 0; i < inhibitors->entries->len; i++) {
                const Entry *entry = inhibitors->entries->pdata[i];

                n_all += entry->n_keys;
                n_own += entry->inhibitor.uid == uid ? entry->n_keys : 0;
        }
        return more <= INHIBITORS_MAX &&
               root_share_left((unsigned) (n_all + more - 1), INHIBITORS_MAX, uid) &&
               (uid == 0 || n_own + more <= INHIBITORS_PER_UID_MAX);
}

int inhibitors_add(Inhibitors *inhibitors, const PciKey *keys, size_t n_keys,
                   const Inhibitor *inhibitor, uint64_t *ret_number, int *ret_fd) {
        Entry *entry;
        int r;

        g_assert(n_keys > 0);
        if (!inhibitors_have_room(inhibitors, inhibitor->uid, n_keys))
                return -EDQUOT;
        entry = entry_new(inhibitors, keys, n_keys, inhibitor, inhibitors->next_number);
        r = client_pipe_new(inhibitors->event, inhibitors->store, PIPE_KIND, entry->number,
                            on_closed, entry, ret_fd, &entry->pipe);
        if (r < 0) {
                inhibitor_entry_free(entry);
                return r;
        }
        inhibitors->next_number++;
        *ret_number = entry->number;
        add_entry(inhibitors, entry);
        return 0;
}

void inhibitors_remove(Inhibitors *inhibitors, uint64_t number) {
        for (guint i = inhibitors->entries->len; i > 0; i--) {
                Entry *entry = inhibitors->entries->pdata[i - 1];

                if (entry->number == number) {
                        end(entry);
                        return;
                }
        }
}

void inhibitors_attach(Inhibitors *inhibitors, Function *function) {
        for (guint i = 0; i < inhibitors->entries->len; i++) {
                Entry *entry = inhibitors->entries->pdata[i];

                for (size_t j = 0; j < entry->n_keys; j++)
                        if (entry->keys[j] == function->facts.key)
                                attach(function, entry);
        }
}

void inhibitors_record(const Inhibitors *inhibitors, GArray *records) {
        for (guint i = 0; i < inhibitors->entries->len; i++) {
                const Entry *entry = inhibitors->entries->pdata[i];
                StateInhibitor record = {
                        .number = entry->number,
                        .keys = g_memdup2(entry->keys, entry->n_keys * sizeof(*entry->keys)),
                        .n_keys = entry->n_keys,
                        .inhibitor = entry->inhibitor,
                };

                record.inhibitor.who = g_strdup(entry->inhibitor.who);
                record.inhibitor.why = g_strdup(entry->inhibitor.why);
                g_array_append_val(records, record);
        }
}

static void log_lost(const StateInhibitor *record) {
        for (size_t i = 0; i < record->n_keys; i++) {
                PciAddress address = pci_address_from_key(record->keys[i]);

                log_full(LOG_WARNING, &address, NULL, "the inhibitor of %s is lost",
                         record->inhibitor.who);
        }
}

static void adopt_inhibitor(Inhibitors *inhibitors, const StateInhibitor *record) {
        Entry *entry = entry_new(inhibitors, record->keys, record->n_keys, &record->inhibitor,
                                 record->number);
        int r = client_pipe_adopt(inhibitors->event, inhibitors->store, PIPE_KIND, entry->number,
                                  on_closed, entry, &entry->pipe);

        if (r >= 0) {
                add_entry(inhibitors, entry);
                return;
        }
        if (r != -ENOENT)
                log_lost(record);
        inhibitor_entry_free(entry);
}

void inhibitors_adopt(Inhibitors *inhibitors, const GArray *records) {
        for (guint i = 0; i < records->len; i++) {
                const StateInhibitor *record = &g_array_index(records, StateInhibitor, i);

                /* Numbers are not used again, also of those that ended meanwhile. */
                inhibitors->next_number = MAX(inhibitors->next_number, record->number + 1);
                adopt_inhibitor(inhibitors, record);
        }
}

void inhibitors_foreach(const Inhibitors *inhibitors,
                        void (*visit)(void *context, PciKey key, const Inhibitor *inhibitor),
                        void *context) {
        for (guint i = 0; i < inhibitors->entries->len; i++) {
                const Entry *entry = inhibitors->entries->pdata[i];

                for (size_t j = 0; j < entry->n_keys; j++)
                        visit(context, entry->keys[j], &entry->inhibitor);
        }
}
