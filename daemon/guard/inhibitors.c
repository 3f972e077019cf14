#include "daemon/guard/inhibitors.h"

#include "daemon/base/log.h"
#include "daemon/base/util.h"
#include "daemon/guard/records.h"
#include "policy/room.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <sys/epoll.h>

/* The name of its descriptor in the store. */
static char *fd_name(uint64_t number) {
        return g_strdup_printf("inhibitor-%" PRIu64, number);
}

typedef struct Entry {
        Inhibitors *inhibitors;
        Inhibitor inhibitor; /* strings owned */
        PciKey key;
        uint64_t number; /* counts up, never used again */
        int fd;          /* reading end */
        sd_event_source *source;
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

static void entry_free(gpointer data) {
        Entry *entry = data;

        sd_event_source_disable_unref(entry->source);
        closep(&entry->fd);
        g_free(entry->inhibitor.who);
        g_free(entry->inhibitor.why);
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
        inhibitors->entries = g_ptr_array_new_with_free_func(entry_free);
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
}

static void end(Entry *entry) {
        Inhibitors *inhibitors = entry->inhibitors;
        Function *function = inventory_get(inhibitors->inventory, entry->key);
        g_autofree char *name = fd_name(entry->number);

        if (function && function->inhibitors)
                g_ptr_array_remove(function->inhibitors, &entry->inhibitor);
        fd_store_drop(inhibitors->store, name);
        g_ptr_array_remove(inhibitors->entries, entry);
}

/* The client closed its end. */
static int on_hang_up(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        Entry *entry = userdata;
        Inhibitors *inhibitors = entry->inhibitors;
        PciKey key = entry->key;
        PciAddress address = pci_address_from_key(key);

        log_full(LOG_INFO, &address, NULL, "%s no longer inhibits anything", entry->inhibitor.who);
        end(entry);
        inhibitors->ended(inhibitors->context, key);
        return 0;
}

static int add_entry(Inhibitors *inhibitors, PciKey key, const Inhibitor *inhibitor,
                     uint64_t number, int *fd) {
        Entry *entry = g_new0(Entry, 1);
        Function *function;
        int r;

        entry->inhibitors = inhibitors;
        entry->inhibitor = *inhibitor;
        entry->inhibitor.who = g_strdup(inhibitor->who);
        entry->inhibitor.why = g_strdup(inhibitor->why);
        entry->key = key;
        entry->number = number;
        entry->fd = take_fd(fd);
        /* No events asked for: what the client may write is never read, and EPOLLHUP is always
         * told. */
        r = sd_event_add_io(inhibitors->event, &entry->source, entry->fd, 0, on_hang_up, entry);
        if (r < 0) {
                entry_free(entry);
                return r;
        }
        (void) sd_event_source_set_description(entry->source, "inhibitors: end of a pipe");
        g_ptr_array_add(inhibitors->entries, entry);
        function = inventory_get(inhibitors->inventory, key);
        if (function)
                attach(function, entry);
        return 0;
}

static unsigned count_of(const Inhibitors *inhibitors, uint32_t uid) {
        unsigned n = 0;

        for (guint i = 0; i < inhibitors->entries->len; i++)
                n += ((const Entry *) inhibitors->entries->pdata[i])->inhibitor.uid == uid;
        return n;
}

int inhibitors_add(Inhibitors *inhibitors, PciKey key, const Inhibitor *inhibitor,
                   uint64_t *ret_number, int *ret_fd) {
        _cleanup_(closep) int reading = -1, writing = -1;
        uint64_t number = inhibitors->next_number;
        g_autofree char *name = fd_name(number);
        int fds[2], r;

        if (!room_left(inhibitors->entries->len, INHIBITORS_MAX, inhibitor->uid) ||
            (inhibitor->uid != 0 && count_of(inhibitors, inhibitor->uid) >= INHIBITORS_PER_UID_MAX))
                return -EDQUOT;
        if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
                return -errno;
        reading = fds[0];
        writing = fds[1];

        r = fd_store_keep(inhibitors->store, name, reading);
        if (r < 0)
                return r;
        inhibitors->next_number++;
        r = add_entry(inhibitors, key, inhibitor, number, &reading);
        if (r < 0) {
                fd_store_drop(inhibitors->store, name);
                return r;
        }
        *ret_number = number;
        *ret_fd = take_fd(&writing);
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

                if (entry->key == function->facts.key)
                        attach(function, entry);
        }
}

void inhibitors_record(const Inhibitors *inhibitors, GArray *records) {
        for (guint i = 0; i < inhibitors->entries->len; i++) {
                const Entry *entry = inhibitors->entries->pdata[i];
                StateInhibitor record = {
                        .number = entry->number,
                        .key = entry->key,
                        .inhibitor = entry->inhibitor,
                };

                record.inhibitor.who = g_strdup(entry->inhibitor.who);
                record.inhibitor.why = g_strdup(entry->inhibitor.why);
                g_array_append_val(records, record);
        }
}

static bool has_hung_up(int fd) {
        struct pollfd poll_fd = { .fd = fd };

        return poll(&poll_fd, 1, 0) > 0;
}

static void log_lost(const StateInhibitor *record) {
        PciAddress address = pci_address_from_key(record->key);

        log_full(LOG_WARNING, &address, NULL, "the inhibitor of %s is lost", record->inhibitor.who);
}

void inhibitors_adopt(Inhibitors *inhibitors, const GArray *records) {
        for (guint i = 0; i < records->len; i++) {
                const StateInhibitor *record = &g_array_index(records, StateInhibitor, i);
                g_autofree char *name = fd_name(record->number);
                _cleanup_(closep) int fd = fd_store_take(inhibitors->store, name);

                /* Numbers are not used again, also of those that ended meanwhile. */
                inhibitors->next_number = MAX(inhibitors->next_number, record->number + 1);
                if (fd < 0 || has_hung_up(fd))
                        fd_store_drop(inhibitors->store, name);
                else if (add_entry(inhibitors, record->key, &record->inhibitor, record->number,
                                   &fd) < 0)
                        log_lost(record);
        }
}

void inhibitors_foreach(const Inhibitors *inhibitors,
                        void (*visit)(void *context, PciKey key, const Inhibitor *inhibitor),
                        void *context) {
        for (guint i = 0; i < inhibitors->entries->len; i++) {
                const Entry *entry = inhibitors->entries->pdata[i];

                visit(context, entry->key, &entry->inhibitor);
        }
}
