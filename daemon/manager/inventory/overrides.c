#include "daemon/manager/inventory/overrides.h"

#include "daemon/base/rate-limit.h"
#include "daemon/base/retries.h"
#include "daemon/sysfs/override-reader.h"
#include "policy/absence.h"

#include <errno.h>

struct Overrides {
        const PartContext *context;
        Apply *apply;
        const OverridesHandler *handler;
        void *handler_context;
        OverrideReader *reader;
        RateLimit *drivers;  /* of functions whose driver changes */
        Retries *retries;    /* of functions that could not be asked */
        GHashTable *answers; /* PciKey* -> Answer*: of functions that were not read yet */
};

typedef struct Answer {
        uint64_t inode; /* of the device that was asked; 0: of any, nothing could be found out */
        GRefString *value;
} Answer;

static void override_answer_free(gpointer data) {
        Answer *answer = data;

        g_ref_string_release(answer->value);
        g_free(answer);
}

static void keep_answer(Overrides *overrides, PciKey key, const OverrideAnswer *given) {
        Answer *answer = g_new(Answer, 1);

        *answer = (Answer){ given->inode,
                            g_ref_string_new_intern(given->error < 0 ? "" : given->value) };
        g_hash_table_replace(overrides->answers, g_memdup2(&key, sizeof(key)), answer);
}

/* Whether the value could be read. While something holds the device's lock, each attempt leaves a
 * process behind that waits for it: it is not tried again. */
static void note_override(Overrides *overrides, PciKey key, int error) {
        PciAddress address = pci_address_from_key(key);

        if (error < 0 && error != -ETIMEDOUT) {
                problems_report_function(overrides->context->problems, address, "override",
                                         "Failed to read driver_override: %s", g_strerror(-error));
                retries_add(overrides->retries, key);
                return;
        }
        problems_resolve_function(overrides->context->problems, address, "override");
        retries_drop(overrides->retries, key);
}

static void on_override(void *context, PciKey key, const OverrideAnswer *answer) {
        Overrides *overrides = context;
        Function *function = inventory_get(overrides->context->inventory, key);

        if (errno_means_absent(answer->error)) {
                if (!function) {
                        retries_drop(overrides->retries, key);
                        overrides->handler->absent(overrides->handler_context, key);
                }
                return; /* of one that is known its own events tell */
        }
        note_override(overrides, key, answer->error);
        if (function && answer->error < 0)
                return; /* what is known stays */
        if (function && answer->inode == function->facts.inode) {
                inventory_set_driver_override(function, answer->value);
                apply_queue(overrides->apply, function);
                return;
        }
        keep_answer(overrides, key, answer);
        overrides->handler->arrived(overrides->handler_context, key);
}

static void on_override_due(void *context, PciKey key) {
        overrides_ask(context, key);
}

int overrides_new(Apply *apply, const OverridesHandler *handler, void *context, Overrides **ret) {
        Overrides *overrides = g_new0(Overrides, 1);
        sd_event *event = apply_context(apply)->event;
        int r;

        overrides->context = apply_context(apply);
        overrides->apply = apply;
        overrides->handler = handler;
        overrides->handler_context = context;
        overrides->answers =
                g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, override_answer_free);
        r = retries_new(event, on_override_due, overrides, &overrides->retries);
        if (r >= 0)
                r = rate_limit_new(event, on_override_due, overrides, &overrides->drivers);
        if (r >= 0)
                r = override_reader_new(event, on_override, overrides, &overrides->reader);
        if (r < 0) {
                overrides_free(overrides);
                return r;
        }
        *ret = overrides;
        return 0;
}

Overrides *overrides_free(Overrides *overrides) {
        if (!overrides)
                return NULL;
        override_reader_free(overrides->reader);
        rate_limit_free(overrides->drivers);
        retries_free(overrides->retries);
        g_hash_table_unref(overrides->answers);
        g_free(overrides);
        return NULL;
}

void overrides_ask(Overrides *overrides, PciKey key) {
        override_reader_ask(overrides->reader, key);
}

void overrides_driver_changed(Overrides *overrides, PciKey key) {
        if (rate_limit_take(overrides->drivers, key))
                overrides_ask(overrides, key);
}

bool overrides_have(const Overrides *overrides, PciKey key) {
        return g_hash_table_contains(overrides->answers, &key);
}

GRefString *overrides_take(Overrides *overrides, PciKey key, uint64_t inode) {
        const Answer *answer = g_hash_table_lookup(overrides->answers, &key);
        GRefString *value = NULL;

        if (answer && (answer->inode == 0 || answer->inode == inode))
                value = g_ref_string_acquire(answer->value);
        g_hash_table_remove(overrides->answers, &key);
        return value;
}

void overrides_function_gone(Overrides *overrides, PciKey key) {
        retries_drop(overrides->retries, key);
}

bool overrides_forget(Overrides *overrides, PciKey key) {
        overrides_function_gone(overrides, key);
        return g_hash_table_remove(overrides->answers, &key);
}

bool overrides_are_known(const Overrides *overrides) {
        return override_reader_is_idle(overrides->reader);
}

void overrides_finish(Overrides *overrides) {
        override_reader_finish(overrides->reader);
}
