#include "daemon/guard/violations.h"

#include "daemon/base/util.h"
#include "daemon/base/wakeup.h"

#include <glib.h>

typedef struct Entry {
        ViolationTally tally;
        Violation last; /* of those that are counted; `path` is owned */
} Entry;

struct Violations {
        ViolationsReport *report;
        void *context;
        GHashTable *entries; /* what was violated -> Entry*, both owned */
        sd_event_source *timer;
};

static void violation_entry_free(gpointer data) {
        Entry *entry = data;

        g_free((char *) entry->last.path);
        g_free(entry);
}

static void wake_at(const Violations *violations, uint64_t time_usec) {
        uint64_t now = now_usec();

        wakeup_within(violations->timer, time_usec > now ? time_usec - now : 0);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        const Violations *violations = userdata;
        uint64_t now = now_usec();
        GHashTableIter iter;
        Entry *entry;

        g_hash_table_iter_init(&iter, violations->entries);
        while (g_hash_table_iter_next(&iter, NULL, (gpointer *) &entry)) {
                if (violation_tally_end_usec(&entry->tally) <= now) {
                        entry->last.count = violation_tally_end(&entry->tally, now);
                        if (entry->last.count == 0) {
                                g_hash_table_iter_remove(&iter);
                                continue;
                        }
                        violations->report(violations->context, &entry->last);
                }
                wake_at(violations, violation_tally_end_usec(&entry->tally));
        }
        return 0;
}

int violations_new(sd_event *event, ViolationsReport *report, void *context, Violations **ret) {
        Violations *violations = g_new0(Violations, 1);
        int r;

        violations->report = report;
        violations->context = context;
        violations->entries =
                g_hash_table_new_full(g_str_hash, g_str_equal, g_free, violation_entry_free);
        r = wakeup_new_timer(event, 0, on_timer, violations, &violations->timer);
        if (r >= 0)
                r = sd_event_source_set_description(violations->timer, "violations");
        if (r < 0) {
                violations_free(violations);
                return r;
        }
        *ret = violations;
        return 0;
}

Violations *violations_free(Violations *violations) {
        if (!violations)
                return NULL;
        sd_event_source_disable_unref(violations->timer);
        g_hash_table_unref(violations->entries);
        g_free(violations);
        return NULL;
}

/* What several have in common: the file, or the PF. */
static char *subject_of(const Violation *violation) {
        char address[PCI_ADDRESS_STRING_MAX];

        if (violation->path)
                return g_strdup(violation->path);
        return g_strdup(pci_address_format(pci_address_from_key(violation->key), address));
}

static Entry *get_entry(const Violations *violations, const Violation *violation) {
        g_autofree char *subject = subject_of(violation);
        Entry *entry = g_hash_table_lookup(violations->entries, subject);

        if (entry)
                return entry;
        entry = g_new0(Entry, 1);
        g_hash_table_insert(violations->entries, g_steal_pointer(&subject), entry);
        return entry;
}

static void count(Entry *entry, const Violation *violation) {
        uint16_t before =
                entry->tally.n_counted > 1 ? entry->last.num_vfs_before : violation->num_vfs_before;

        g_free((char *) entry->last.path);
        entry->last = *violation;
        entry->last.path = g_strdup(violation->path);
        entry->last.num_vfs_before = before;
}

void violations_report(Violations *violations, const Violation *violation) {
        Entry *entry = get_entry(violations, violation);
        bool at_once = violation_tally_take(&entry->tally, now_usec());

        wake_at(violations, violation_tally_end_usec(&entry->tally));
        if (at_once)
                violations->report(violations->context, violation);
        else
                count(entry, violation);
}
