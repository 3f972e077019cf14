#include "daemon/manager/publisher.h"

#include "daemon/base/log.h"
#include "policy/topology.h"

/* What clients know of a function. */
typedef struct Published {
        PciKey key;
        FunctionState state;
        unsigned lock_reasons;
        bool in_use;
        GRefString *driver, *driver_override; /* interned, as those of facts */
        const char *slot;                     /* interned; NULL: none */
        int32_t iommu_group;
        uint16_t num_vfs;
        bool drivers_autoprobe;
        char backend[IO_SESSION_BACKEND_MAX];
        uint16_t max_store_block;
        bool relaxed;
} Published;

struct Publisher {
        GHashTable *functions; /* PciKey in Published -> Published*, owned */
        unsigned told_count;   /* of functions */
        const ManagerObserver *observer;
        void *context;
};

static void published_free(gpointer data) {
        Published *published = data;

        g_clear_pointer(&published->driver, g_ref_string_release);
        g_clear_pointer(&published->driver_override, g_ref_string_release);
        g_free(published);
}

Publisher *publisher_new(void) {
        Publisher *publisher = g_new0(Publisher, 1);

        publisher->functions =
                g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, published_free);
        return publisher;
}

Publisher *publisher_free(Publisher *publisher) {
        if (!publisher)
                return NULL;
        g_hash_table_unref(publisher->functions);
        g_free(publisher);
        return NULL;
}

void publisher_set_observer(Publisher *publisher, const ManagerObserver *observer, void *context) {
        publisher->observer = observer;
        publisher->context = context;
}

static Published *publisher_find(const Publisher *publisher, const Function *function) {
        return g_hash_table_lookup(publisher->functions, &function->facts.key);
}

bool publisher_knows(const Publisher *publisher, const Function *function) {
        return publisher_find(publisher, function);
}

unsigned publisher_lock_reasons(const Publisher *publisher, const Function *function) {
        const Published *published = publisher_find(publisher, function);

        return published ? published->lock_reasons : 0;
}

/* What sessions say comes from the driver, the configuration and the session there is: it is
 * compared here, with what was published, and nowhere else. */
static void note_io_changes(const Published *published, const Function *function,
                            PropertySet *changes) {
        if (!g_str_equal(function_io_backend(function), published->backend))
                property_set_add(changes, FUNCTION_PROPERTY_IO_BACKEND);
        if (function_io_max_store_block(function) != published->max_store_block)
                property_set_add(changes, FUNCTION_PROPERTY_IO_MAX_STORE_BLOCK);
        if (function_io_relaxed(function) != published->relaxed)
                property_set_add(changes, FUNCTION_PROPERTY_IO_RELAXED);
}

static const char *slot_of(const Function *function) {
        const Function *owner = topology_slot_owner(function);

        return owner ? owner->slot : NULL;
}

static void drop_unchanged_facts(const Published *published, const Function *function,
                                 PropertySet *changes) {
        if (function->facts.driver == published->driver)
                property_set_remove(changes, FUNCTION_PROPERTY_DRIVER);
        if (function->facts.driver_override == published->driver_override)
                property_set_remove(changes, FUNCTION_PROPERTY_DRIVER_OVERRIDE);
        if (slot_of(function) == published->slot)
                property_set_remove(changes, FUNCTION_PROPERTY_SLOT);
        if (function->facts.iommu_group == published->iommu_group)
                property_set_remove(changes, FUNCTION_PROPERTY_IOMMU_GROUP);
        if (function_num_vfs(function) == published->num_vfs)
                property_set_remove(changes, FUNCTION_PROPERTY_NUM_VFS);
        if (function->facts.drivers_autoprobe == published->drivers_autoprobe)
                property_set_remove(changes, FUNCTION_PROPERTY_DRIVERS_AUTOPROBE);
}

/* What came and went between two rounds of applying is no change: a request can fail and undo its
 * steps, an unplug can begin and end, and a client that was to get a function may not get it. */
static void drop_unchanged(const Published *published, const Function *function,
                           PropertySet *changes) {
        if (function->lock_reasons == published->lock_reasons) {
                property_set_remove(changes, FUNCTION_PROPERTY_LOCK_REASONS);
                property_set_remove(changes, FUNCTION_PROPERTY_LOCKED);
        }
        if (function->state == published->state)
                property_set_remove(changes, FUNCTION_PROPERTY_STATE);
        if (function_in_use(function) == published->in_use)
                property_set_remove(changes, FUNCTION_PROPERTY_IN_USE);
        drop_unchanged_facts(published, function, changes);
}

static void remember_string(GRefString **remembered, GRefString *now) {
        if (*remembered == now)
                return;
        g_clear_pointer(remembered, g_ref_string_release);
        *remembered = now ? g_ref_string_acquire(now) : NULL;
}

static void remember(Published *published, const Function *function) {
        remember_string(&published->driver, function->facts.driver);
        remember_string(&published->driver_override, function->facts.driver_override);
        published->slot = slot_of(function);
        published->iommu_group = function->facts.iommu_group;
        published->num_vfs = function_num_vfs(function);
        published->drivers_autoprobe = function->facts.drivers_autoprobe;
        published->state = function->state;
        published->lock_reasons = function->lock_reasons;
        published->in_use = function_in_use(function);
        g_strlcpy(published->backend, function_io_backend(function), sizeof(published->backend));
        published->max_store_block = function_io_max_store_block(function);
        published->relaxed = function_io_relaxed(function);
}

void publisher_publish(Publisher *publisher, Function *function) {
        Published *published = publisher_find(publisher, function);
        const ManagerObserver *observer = publisher->observer;
        PropertySet changes = function->changes;
        bool is_new = !published;

        if (is_new) {
                published = g_new0(Published, 1);
                published->key = function->facts.key;
                g_hash_table_insert(publisher->functions, &published->key, published);
        } else {
                note_io_changes(published, function, &changes);
                drop_unchanged(published, function, &changes);
        }
        remember(published, function);
        property_set_clear(&function->changes);
        if (observer && is_new)
                observer->added(publisher->context, function);
        else if (observer && !property_set_is_empty(&changes))
                observer->changed(publisher->context, function, &changes);
}

void publisher_function_gone(Publisher *publisher, Function *function) {
        if (g_hash_table_remove(publisher->functions, &function->facts.key) && publisher->observer)
                publisher->observer->removed(publisher->context, function);
}

void publisher_publish_count(Publisher *publisher) {
        unsigned count = g_hash_table_size(publisher->functions);

        if (publisher->observer && count != publisher->told_count)
                publisher->observer->count_changed(publisher->context);
        publisher->told_count = count;
}

void publisher_violation(Publisher *publisher, const Violation *violation) {
        PciAddress address = pci_address_from_key(violation->key);
        g_autofree char *reasons = lock_reasons_format(violation->reasons);
        g_autofree char *who =
                violation->author.pid != 0 ? violation_author_format(&violation->author) : NULL;
        const char *by = who ? ", by " : "";
        g_autofree char *times = violation->count > 1
                                         ? g_strdup_printf(" (%u times)", violation->count)
                                         : g_strdup("");

        if (violation->file)
                log_full(LOG_WARNING, &address, LOG_ID_VIOLATION,
                         "%s got write permission (mode %04o) although %s is "
                         "locked (%s)%s%s; closed again%s",
                         violation->path, violation->mode, violation->operation, reasons, by,
                         who ? who : "", times);
        else
                log_full(LOG_WARNING, &address, LOG_ID_VIOLATION,
                         "the number of virtual functions went from %u to %u "
                         "although %s is locked (%s)%s%s%s",
                         violation->num_vfs_before, violation->num_vfs, violation->operation,
                         reasons, by, who ? who : "", times);
        if (publisher->observer)
                publisher->observer->violation(publisher->context, violation);
}

void publisher_ask_release(Publisher *publisher, Function *function, uint64_t deadline_usec) {
        if (publisher->observer)
                publisher->observer->unplug_requested(publisher->context, function, deadline_usec);
}

void publisher_enforcement_changed(Publisher *publisher) {
        if (publisher->observer)
                publisher->observer->enforcement_changed(publisher->context);
}

void publisher_settings_changed(Publisher *publisher) {
        if (publisher->observer)
                publisher->observer->settings_changed(publisher->context);
}

void publisher_problems_changed(Publisher *publisher) {
        if (publisher->observer)
                publisher->observer->problems_changed(publisher->context);
}

void publisher_guards_changed(Publisher *publisher) {
        if (publisher->observer)
                publisher->observer->guards_changed(publisher->context);
}
