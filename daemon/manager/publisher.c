#include "daemon/manager/publisher.h"

#include "daemon/base/log.h"
#include "daemon/guard/violations.h"
#include "policy/topology.h"

/* A property whose value is a number of 32 bits: the number. */
typedef struct PlainProperty {
        FunctionProperty property;
        uint32_t (*value)(const Function *function);
} PlainProperty;

/* One that is as good as a longer number, which is another if, and only if, the property is. */
typedef struct LongProperty {
        FunctionProperty property;
        uint64_t (*value)(const Function *function);
} LongProperty;

static uint64_t slot_of(const Function *function) {
        const Function *owner = topology_slot_owner(function);

        return owner ? (uintptr_t) owner->slot : 0; /* interned */
}

static uint64_t physical_function_of(const Function *function) {
        return function->pf ? function->pf->facts.key + 1 : 0;
}

static const LongProperty long_properties[] = {
        { FUNCTION_PROPERTY_PHYSICAL_FUNCTION, physical_function_of },
        { FUNCTION_PROPERTY_SLOT, slot_of },
};

#define PLAIN_VALUE(name, expression)                            \
        static uint32_t plain_##name(const Function *function) { \
                return (uint32_t) (expression);                  \
        }
PLAIN_VALUE(kind, function->kind)
PLAIN_VALUE(iommu_group, function->facts.iommu_group)
PLAIN_VALUE(numa_node, function->facts.numa_node)
PLAIN_VALUE(locked, function->lock_reasons != 0)
PLAIN_VALUE(lock_reasons, function->lock_reasons)
PLAIN_VALUE(protected_files, function->protected_files)
PLAIN_VALUE(tainted, function->tainted)
PLAIN_VALUE(state, function->state)
PLAIN_VALUE(total_vfs, function->facts.total_vfs)
PLAIN_VALUE(num_vfs, function_num_vfs(function))
PLAIN_VALUE(drivers_autoprobe, function->facts.drivers_autoprobe)
PLAIN_VALUE(index, function->index)
PLAIN_VALUE(in_use, function_in_use(function))
PLAIN_VALUE(userspace_driver, function->userspace_driver)
#undef PLAIN_VALUE

static const PlainProperty plain_properties[] = {
        { FUNCTION_PROPERTY_KIND, plain_kind },
        { FUNCTION_PROPERTY_IOMMU_GROUP, plain_iommu_group },
        { FUNCTION_PROPERTY_NUMA_NODE, plain_numa_node },
        { FUNCTION_PROPERTY_LOCKED, plain_locked },
        { FUNCTION_PROPERTY_LOCK_REASONS, plain_lock_reasons },
        { FUNCTION_PROPERTY_PROTECTED_FILES, plain_protected_files },
        { FUNCTION_PROPERTY_TAINTED, plain_tainted },
        { FUNCTION_PROPERTY_STATE, plain_state },
        { FUNCTION_PROPERTY_TOTAL_VFS, plain_total_vfs },
        { FUNCTION_PROPERTY_NUM_VFS, plain_num_vfs },
        { FUNCTION_PROPERTY_DRIVERS_AUTOPROBE, plain_drivers_autoprobe },
        { FUNCTION_PROPERTY_INDEX, plain_index },
        { FUNCTION_PROPERTY_IN_USE, plain_in_use },
        { FUNCTION_PROPERTY_USERSPACE_DRIVER, plain_userspace_driver },
};

/* What clients know of a function. */
typedef struct Published {
        PciKey key;
        uint64_t longer[G_N_ELEMENTS(long_properties)];
        uint32_t plain[G_N_ELEMENTS(plain_properties)];
        unsigned lock_reasons;
        GRefString *driver, *driver_override; /* interned, as those of facts */
        GArray *vfs;                          /* of PciKey; NULL: none */
        char backend[IO_SESSION_BACKEND_MAX];
        uint16_t max_store_block;
        bool relaxed;
} Published;

struct Publisher {
        Violations *violations;
        GHashTable *functions; /* PciKey in Published -> Published*, owned */
        unsigned told_count;   /* of functions */
        const ManagerObserver *observer;
        void *context;
};

static void published_free(gpointer data) {
        Published *published = data;

        g_clear_pointer(&published->driver, g_ref_string_release);
        g_clear_pointer(&published->driver_override, g_ref_string_release);
        g_clear_pointer(&published->vfs, g_array_unref);
        g_free(published);
}

/* It is to be published now. */
static void on_violation_due(void *context, const Violation *violation) {
        const Publisher *publisher = context;
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

int publisher_new(sd_event *event, Publisher **ret) {
        Publisher *publisher = g_new0(Publisher, 1);
        int r;

        publisher->functions =
                g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, published_free);
        r = violations_new(event, on_violation_due, publisher, &publisher->violations);
        if (r < 0) {
                publisher_free(publisher);
                return r;
        }
        *ret = publisher;
        return 0;
}

Publisher *publisher_free(Publisher *publisher) {
        if (!publisher)
                return NULL;
        violations_free(publisher->violations);
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

static bool has_same_vfs(const Published *published, const Function *function) {
        guint n = function->vfs ? function->vfs->len : 0;

        if (n != (published->vfs ? published->vfs->len : 0))
                return false;
        for (guint i = 0; i < n; i++)
                if (g_array_index(published->vfs, PciKey, i) !=
                    ((const Function *) function->vfs->pdata[i])->facts.key)
                        return false;
        return true;
}

/* What came and went between two rounds of applying is no change: a request can fail and undo its
 * steps, an unplug can begin and end, and a client that was to get a function may not get it. */
static void drop_unchanged(const Published *published, const Function *function,
                           PropertySet *changes) {
        for (size_t i = 0; i < G_N_ELEMENTS(plain_properties); i++)
                if (plain_properties[i].value(function) == published->plain[i])
                        property_set_remove(changes, plain_properties[i].property);
        for (size_t i = 0; i < G_N_ELEMENTS(long_properties); i++)
                if (long_properties[i].value(function) == published->longer[i])
                        property_set_remove(changes, long_properties[i].property);
        if (function->facts.driver == published->driver)
                property_set_remove(changes, FUNCTION_PROPERTY_DRIVER);
        if (function->facts.driver_override == published->driver_override)
                property_set_remove(changes, FUNCTION_PROPERTY_DRIVER_OVERRIDE);
        if (property_set_has(changes, FUNCTION_PROPERTY_VIRTUAL_FUNCTIONS) &&
            has_same_vfs(published, function))
                property_set_remove(changes, FUNCTION_PROPERTY_VIRTUAL_FUNCTIONS);
}

static void remember_string(GRefString **remembered, GRefString *now) {
        if (*remembered == now)
                return;
        g_clear_pointer(remembered, g_ref_string_release);
        *remembered = now ? g_ref_string_acquire(now) : NULL;
}

static void remember_vfs(Published *published, const Function *function) {
        g_clear_pointer(&published->vfs, g_array_unref);
        if (!function->vfs || function->vfs->len == 0)
                return;
        published->vfs = g_array_sized_new(FALSE, FALSE, sizeof(PciKey), function->vfs->len);
        for (guint i = 0; i < function->vfs->len; i++)
                g_array_append_val(published->vfs,
                                   ((const Function *) function->vfs->pdata[i])->facts.key);
}

static void remember(Published *published, const Function *function, const PropertySet *changes) {
        for (size_t i = 0; i < G_N_ELEMENTS(plain_properties); i++)
                published->plain[i] = plain_properties[i].value(function);
        for (size_t i = 0; i < G_N_ELEMENTS(long_properties); i++)
                published->longer[i] = long_properties[i].value(function);
        published->lock_reasons = function->lock_reasons;
        remember_string(&published->driver, function->facts.driver);
        remember_string(&published->driver_override, function->facts.driver_override);
        if (property_set_has(changes, FUNCTION_PROPERTY_VIRTUAL_FUNCTIONS))
                remember_vfs(published, function);
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
        remember(published, function, &changes);
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
        violations_report(publisher->violations, violation);
}

void publisher_ask_release(Publisher *publisher, Function *function, uint64_t deadline_usec) {
        if (publisher->observer)
                publisher->observer->unplug_requested(publisher->context, function, deadline_usec);
}

void publisher_device_failed(Publisher *publisher, Function *function, const char *event) {
        if (publisher->observer)
                publisher->observer->device_failed(publisher->context, function, event);
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
