#include "daemon/guard/unplug.h"

#include "daemon/guard/unplug-entry.h"
#include "policy/check.h"

#include <errno.h>

static void on_slot_due(void *context, PciKey key) {
        Unplug *unplug = g_hash_table_lookup(((const Unplugs *) context)->entries, &key);

        if (unplug && unplug_is_waiting(unplug))
                unplug_go_on(unplug);
        else
                slot_search_drop(((const Unplugs *) context)->slots, key);
}

int unplugs_new(sd_event *event, Inventory *inventory, Operations *operations, Problems *problems,
                const UnplugsHandler *handler, void *context, Unplugs **ret) {
        Unplugs *unplugs = g_new0(Unplugs, 1);
        int r;

        unplugs->event = sd_event_ref(event);
        unplugs->inventory = inventory;
        unplugs->operations = operations;
        unplugs->handler = handler;
        unplugs->context = context;
        unplugs->entries = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, unplug_free);
        unplugs->orphans = g_ptr_array_new_with_free_func(unplug_free);
        r = slot_search_new(event, inventory, problems, on_slot_due, unplugs, &unplugs->slots);
        if (r < 0) {
                unplugs_free(unplugs);
                return r;
        }
        *ret = unplugs;
        return 0;
}

Unplugs *unplugs_free(Unplugs *unplugs) {
        if (!unplugs)
                return NULL;
        g_hash_table_unref(unplugs->entries);
        g_ptr_array_unref(unplugs->orphans);
        slot_search_free(unplugs->slots);
        sd_event_unref(unplugs->event);
        g_free(unplugs);
        return NULL;
}

int unplugs_request(Unplugs *unplugs, Function *function, uint64_t timeout_usec, bool insist,
                    unsigned flags, UnplugDone *done, void *context) {
        Unplug *unplug = g_hash_table_lookup(unplugs->entries, &function->facts.key);

        if (unplug)
                return -EBUSY;
        unplug = unplug_new(unplugs, function);
        unplug->insist = insist;
        unplug->flags = flags;
        unplug->n_awaited = unplug_count_awaited(unplug, function);
        unplug->timeout_usec = timeout_usec;
        unplug->done = done;
        unplug->done_context = context;
        unplug->looked = true; /* by the caller */
        unplug->depth++;
        /* The kernel asks users only: inhibitors are waited for before it does. */
        unplug_tell(unplug, insist && unplug->n_awaited == 0 ? UNPLUG_EVENT_REQUEST_INSIST
                                                             : UNPLUG_EVENT_REQUEST);
        if (unplug->n_awaited == 0)
                unplug_tell(unplug, UNPLUG_EVENT_USERS_GONE);
        unplug_put(unplug);
        return 0;
}

void unplugs_resume(Unplugs *unplugs, Function *function) {
        Unplug *unplug = unplug_new(unplugs, function);

        unplug->resumed = unplug->insist = true; /* whom it waited for, it waited for before */
        unplug_tell(unplug, UNPLUG_EVENT_RESUME);
}

void unplugs_resume_all(Unplugs *unplugs) {
        g_autoptr(GPtrArray) functions = inventory_sorted(unplugs->inventory);

        for (guint i = 0; i < functions->len; i++) {
                Function *function = functions->pdata[i];

                if (function->unplugging && function->state == FUNCTION_STATE_PRESENT)
                        unplugs_resume(unplugs, function);
        }
}

int unplugs_cancel(Unplugs *unplugs, Function *function) {
        Unplug *unplug = g_hash_table_lookup(unplugs->entries, &function->facts.key);

        if (!unplug)
                return -ENOENT;
        if (!unplug_state_reversible(unplug->state))
                return -EALREADY;
        unplug_tell(unplug, UNPLUG_EVENT_CANCEL);
        return 0;
}

/* The unplug of the function, or of one that it would go with; or NULL. */
static Unplug *find_for(Unplugs *unplugs, const Function *function) {
        Unplug *unplug = NULL;

        for (; function && !unplug; function = function->pf ? function->pf : function->parent)
                unplug = g_hash_table_lookup(unplugs->entries, &function->facts.key);
        return unplug;
}

uint64_t unplugs_deadline(Unplugs *unplugs, const Function *function) {
        const Unplug *unplug = find_for(unplugs, function);

        return unplug && unplug->deadline ? unplug->asked_until_usec : 0;
}

int unplugs_refuse(Unplugs *unplugs, const Function *function, const char *why) {
        Unplug *unplug = find_for(unplugs, function);

        if (!unplug)
                return -ENOENT;
        if (!unplug_state_reversible(unplug->state))
                return -EALREADY;
        unplug->refused = true;
        g_free(unplug->message);
        unplug->message = g_strdup(why);
        unplug_tell(unplug, UNPLUG_EVENT_CANCEL);
        return 0;
}

void unplugs_overtaken(Unplugs *unplugs, Function *function) {
        Unplug *unplug = g_hash_table_lookup(unplugs->entries, &function->facts.key);

        if (!unplug)
                unplug = unplug_new(unplugs, function);
        unplug_tell(unplug, UNPLUG_EVENT_REMOVAL_SEEN);
}

void unplugs_function_changed(Unplugs *unplugs, Function *function) {
        Unplug *unplug = g_hash_table_lookup(unplugs->entries, &function->facts.key);
        unsigned n, before;

        if (!unplug)
                return;
        n = unplug_count_awaited(unplug, function);
        before = unplug->n_awaited;
        unplug->n_awaited = n;
        if (unplug_is_waiting(unplug))
                unplug_go_on(unplug);
        else if (unplug->state == UNPLUG_STATE_OVERTAKEN && unplug_is_left(function))
                unplug_tell(unplug, UNPLUG_EVENT_UNBOUND);
        else if (n == 0 && before > 0 && unplug_state_reversible(unplug->state))
                unplug_look(unplug);
        else if (n < before)
                unplug_tell(unplug, UNPLUG_EVENT_USER_LEFT);
}

/* Of all entries: what is done to one may free it. */
static GArray *unplugs_keys(const Unplugs *unplugs) {
        GArray *keys = g_array_new(FALSE, FALSE, sizeof(PciKey));
        GHashTableIter iter;
        const PciKey *key;

        g_hash_table_iter_init(&iter, unplugs->entries);
        while (g_hash_table_iter_next(&iter, (gpointer *) &key, NULL))
                g_array_append_vals(keys, key, 1);
        return keys;
}

/* Users are looked at by every look of an unplug as well: it must not cause another one. But for
 * one that failed. */
static void retry_one(Unplug *unplug, bool users_looked) {
        unplug->users_looked |= users_looked;
        unplug->blocked &= users_looked;
        if (unplug_is_waiting(unplug)) {
                if (!users_looked || (unplug->resumed && !unplug->blocked))
                        unplug_go_on(unplug);
        } else if (users_looked && unplug_state_reversible(unplug->state) &&
                   unplug->n_awaited == 0 && unplug->look == 0)
                unplug_look(unplug);
}

void unplugs_retry(Unplugs *unplugs, bool users_looked) {
        g_autoptr(GArray) keys = unplugs_keys(unplugs);

        for (guint i = 0; i < keys->len; i++) {
                Unplug *unplug =
                        g_hash_table_lookup(unplugs->entries, &g_array_index(keys, PciKey, i));

                if (unplug)
                        retry_one(unplug, users_looked);
        }
}

void unplugs_looked(Unplugs *unplugs, const Function *function, uint64_t look, int result) {
        Unplug *unplug = g_hash_table_lookup(unplugs->entries, &function->facts.key);
        bool waiting;

        if (!unplug || unplug->look != look)
                return;
        unplug->look = 0;
        if (result < 0)
                return;
        unplug->n_awaited = unplug_count_awaited(unplug, function);
        waiting = unplug_is_waiting(unplug);
        unplug->looked = waiting || unplug->n_awaited == 0;
        if (waiting)
                unplug_go_on(unplug);
        else if (unplug->looked)
                unplug_tell(unplug, UNPLUG_EVENT_USERS_GONE);
}

void unplugs_blockers_changed(Unplugs *unplugs) {
        g_autoptr(GArray) keys = unplugs_keys(unplugs);

        for (guint i = 0; i < keys->len; i++) {
                const Unplug *unplug =
                        g_hash_table_lookup(unplugs->entries, &g_array_index(keys, PciKey, i));

                if (unplug && (unplug_state_reversible(unplug->state) || unplug_is_waiting(unplug)))
                        unplugs_function_changed(unplugs, unplug_function(unplug));
        }
}

void unplugs_function_gone(Unplugs *unplugs, Function *function) {
        Unplug *unplug = g_hash_table_lookup(unplugs->entries, &function->facts.key);

        /* A surprise removal takes the same table: sessions end whether or not an unplug was
         * requested. */
        if (!unplug)
                unplug = unplug_new(unplugs, function);
        slot_search_drop(unplugs->slots, unplug->key);
        unplug_tell(unplug, UNPLUG_EVENT_REMOVED);
}
