#include "daemon/guard/unplug.h"

#include "daemon/base/log.h"
#include "daemon/base/util.h"
#include "daemon/base/wakeup.h"
#include "daemon/guard/slot-search.h"
#include "policy/check.h"
#include "policy/topology.h"

#include <errno.h>

typedef struct Unplug {
        Unplugs *unplugs;
        PciKey key;
        UnplugState state;
        bool insist;
        bool resumed, users_looked; /* see unplugs_resume(); whether they were since then */
        unsigned flags;             /* of the request, for check_unplug_others() */
        bool refused;               /* by somebody who was asked; `message` says why */
        unsigned n_awaited;         /* count_awaited(), when last looked at */
        sd_event_source *deadline;
        uint64_t timeout_usec;
        uint64_t asked_until_usec; /* CLOCK_REALTIME, while there is a deadline */
        UnplugDone *done;          /* NULL once told, or when nobody asked */
        void *done_context;
        char *message;  /* of the last failure, or of the refusal */
        bool working;   /* a worker is at it, and will tell this entry */
        unsigned depth; /* of calls that use the entry */
} Unplug;

struct Unplugs {
        sd_event *event;
        Inventory *inventory;
        Operations *operations;
        SlotSearch *slots;
        const UnplugsHandler *handler;
        void *context;
        GHashTable *entries; /* PciKey in the entry -> Unplug*, owned */
        GPtrArray *orphans; /* of Unplug*, owned: the function has gone, the worker has not ended */
};

static void unplug_tell(Unplug *unplug, UnplugEvent event);
static void on_slot_due(void *context, PciKey key);

static void unplug_free(gpointer data) {
        Unplug *unplug = data;

        sd_event_source_disable_unref(unplug->deadline);
        g_free(unplug->message);
        g_free(unplug);
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

static Function *unplug_function(const Unplug *unplug) {
        return inventory_get(unplug->unplugs->inventory, unplug->key);
}

/* What the unplug waits for before it unbinds; with `insist` the kernel asks the users. */
static unsigned count_awaited(const Unplug *unplug, const Function *function) {
        return check_unplug_others(unplug->unplugs->inventory, function, unplug->flags) +
               (unplug->insist ? 0 : check_unplug_users(function));
}

/* Frees the entry if it is over and nobody uses it. */
static void unplug_put(Unplug *unplug) {
        Unplugs *unplugs = unplug->unplugs;

        if (--unplug->depth > 0 ||
            (unplug->state != UNPLUG_STATE_PRESENT && unplug->state != UNPLUG_STATE_GONE))
                return;
        if (g_hash_table_lookup(unplugs->entries, &unplug->key) == unplug) {
                g_hash_table_steal(unplugs->entries, &unplug->key);
                g_ptr_array_add(unplugs->orphans, unplug);
        }
        if (!unplug->working)
                g_ptr_array_remove(unplugs->orphans, unplug);
}

static int on_unplug_deadline(sd_event_source *source, uint64_t usec, void *userdata) {
        unplug_tell(userdata, UNPLUG_EVENT_DEADLINE);
        return 0;
}

static void fail_with(Unplug *unplug, char *message) {
        g_free(unplug->message);
        unplug->message = message;
        unplug_tell(unplug, UNPLUG_EVENT_FAILED);
}

static void fail(Unplug *unplug, const char *what, int result, const char *path) {
        const char *why = result < 0 ? g_strerror(-result) : "another driver took it";

        fail_with(unplug,
                  g_strdup_printf("%s: %s%s%s", what, path ? path : "", path ? ": " : "", why));
}

static void on_released(void *context, int result, const char *path) {
        Unplug *unplug = context;
        const Function *function = unplug_function(unplug);

        unplug->depth++;
        unplug->working = false;
        /* When the function has gone, unplugs_function_gone() has told so. */
        if (unplug->state == UNPLUG_STATE_UNBINDING && function) {
                if (result < 0 || topology_still_bound(function))
                        fail(unplug, "it cannot be unbound", result, path);
                else
                        unplug_tell(unplug,
                                    function->kind == FUNCTION_KIND_VF && !function->facts.s390
                                            ? UNPLUG_EVENT_UNBOUND_STAYS
                                            : UNPLUG_EVENT_UNBOUND);
        }
        unplug_put(unplug);
}

static void on_removed(void *context, int result, const char *path) {
        Unplug *unplug = context;

        unplug->depth++;
        unplug->working = false;
        if (unplug->state == UNPLUG_STATE_REMOVING && unplug_function(unplug))
                fail(unplug, "it is still there", result < 0 ? result : -EIO, path);
        unplug_put(unplug);
}

static void begin(Unplug *unplug, Operation operation, Plan *plan, OperationDone *done) {
        g_autofree char *why = NULL;
        int r;

        unplug->working = true;
        r = operations_start(unplug->unplugs->operations, unplug_function(unplug), operation, plan,
                             OPERATION_NO_DEADLINE, done, unplug, &why);
        if (r < 0)
                unplug->working = false;
        /* Something related is in progress, or what cannot be cancelled cannot be saved: when that
         * has ended, it is tried again. Nothing has been done yet where a caller waits. */
        if (why && unplug->done && unplug->state == UNPLUG_STATE_UNBINDING)
                fail_with(unplug, g_steal_pointer(&why));
        else if (r < 0 && r != -EBUSY && !why)
                fail(unplug, "it cannot be started", r, operation_to_string(operation));
}

/* No process works any more on what an earlier run began, and the function has a driver. Who came
 * since then was not asked. */
static void go_on_unbinding(Unplug *unplug, const Function *function) {
        PciAddress address = pci_address_from_key(unplug->key);

        if (!unplug->users_looked || unplug_is_taken_outside(function) ||
            !unplug_users_are_known(function))
                return; /* until that has changed */
        if (function->unplug_asked && unplug_users_are_among(function, function->unplug_asked) &&
            check_unplug_others(unplug->unplugs->inventory, function, 0) == 0) {
                begin(unplug, OPERATION_UNBIND, plan_release(function), on_released);
                return;
        }
        log_full(LOG_WARNING, &address, NULL,
                 "Its unplug of an earlier run ends here: it is bound again, or used by others");
        fail(unplug, "it is bound", 0, NULL);
}

/* Unless one is at it already, left by an earlier run: when that ends, it is looked at again. So it
 * is when somebody uses the function who came while this waited. */
static void begin_release(Unplug *unplug) {
        const Function *function = unplug_function(unplug);

        if (function->operation || check_unplug_unreadable(function))
                return;
        if (unplug->resumed && unplug_has_driver(function))
                go_on_unbinding(unplug, function);
        else if (unplug->insist || count_awaited(unplug, function) == 0)
                begin(unplug, OPERATION_UNBIND, plan_release(function), on_released);
}

static void begin_removal(Unplug *unplug) {
        const Function *function = unplug_function(unplug);
        g_autofree char *slot_power = NULL;

        if (!slot_search_find(unplug->unplugs->slots, function, &slot_power))
                return;
        begin(unplug, slot_power ? OPERATION_POWER_OFF : OPERATION_REMOVE,
              plan_remove(function, slot_power), on_removed);
}

/* Whether its next step could not be taken yet. */
static bool is_waiting(const Unplug *unplug) {
        return (unplug->state == UNPLUG_STATE_UNBINDING ||
                unplug->state == UNPLUG_STATE_REMOVING) &&
               !unplug->working && !unplug_function(unplug)->operation;
}

/* Somebody may have bound and opened the function while its removal waited: see the third rule of
 * policy/unplug.h. */
static void go_on(Unplug *unplug) {
        const Function *function = unplug_function(unplug);

        if (unplug->state == UNPLUG_STATE_UNBINDING)
                begin_release(unplug);
        else if (topology_still_bound(function)) {
                slot_search_forget(unplug->unplugs->slots, unplug->key);
                fail(unplug, "it cannot be removed", 0, NULL);
        } else if (check_unplug_users(function) == 0 && !check_unplug_unreadable(function))
                begin_removal(unplug);
}

static void on_slot_due(void *context, PciKey key) {
        Unplug *unplug = g_hash_table_lookup(((const Unplugs *) context)->entries, &key);

        if (unplug && is_waiting(unplug))
                go_on(unplug);
        else
                slot_search_drop(((const Unplugs *) context)->slots, key);
}

/* At the deadline nobody may use the function any more, and the kernel be slow to remove it. */
static const char *words_for_reply(const Unplug *unplug, const UnplugReply *told) {
        if (told->result == -ETIMEDOUT && unplug->state != UNPLUG_STATE_PRESENT &&
            check_unplug_users(unplug_function(unplug)) == 0)
                return "timed out; it is being removed, which cannot be cancelled";
        return told->message ? told->message : unplug->message;
}

static void reply(Unplug *unplug, unsigned actions) {
        const UnplugReply *told = unplug_reply(actions);
        UnplugDone *done = unplug->done;

        if (!done || !told)
                return;
        unplug->done = NULL;
        if (unplug->refused)
                done(unplug->done_context, -ECONNREFUSED, unplug->message);
        else
                done(unplug->done_context, told->result, words_for_reply(unplug, told));
}

static void arm(Unplug *unplug) {
        PciAddress address = pci_address_from_key(unplug->key);
        int r = wakeup_new_deadline(unplug->unplugs->event, "unplug: deadline",
                                    unplug->timeout_usec, 0, on_unplug_deadline, unplug,
                                    &unplug->deadline);

        unplug->asked_until_usec = realtime_usec() + unplug->timeout_usec;
        if (r < 0)
                log_full(LOG_ERR, &address, NULL, "Failed to start the timer of an unplug: %s",
                         g_strerror(-r));
}

static void act(Unplug *unplug, unsigned actions) {
        const Unplugs *unplugs = unplug->unplugs;
        Function *function = unplug_function(unplug);

        if (actions & (UNPLUG_ACTION_CLOSE | UNPLUG_ACTION_OPEN))
                unplugs->handler->close(unplugs->context, function, actions & UNPLUG_ACTION_CLOSE);
        if (actions & UNPLUG_ACTION_END_SESSIONS)
                unplugs->handler->end_sessions(unplugs->context, function);
        if (actions & UNPLUG_ACTION_ARM)
                arm(unplug);
        if (actions & UNPLUG_ACTION_ASK)
                unplugs->handler->ask(unplugs->context, function,
                                      unplug->deadline ? unplug->asked_until_usec : 0);
        if (actions & UNPLUG_ACTION_DISARM)
                sd_event_source_disable_unref(g_steal_pointer(&unplug->deadline));
        if (actions & (UNPLUG_ACTION_REMEMBER | UNPLUG_ACTION_FORGET))
                unplugs->handler->remember(unplugs->context, function,
                                           actions & UNPLUG_ACTION_REMEMBER);
        reply(unplug, actions);
        /* Last, for it may come to the next step at once. */
        if (actions & UNPLUG_ACTION_UNBIND)
                begin_release(unplug);
        if (actions & UNPLUG_ACTION_REMOVE)
                begin_removal(unplug);
}

/* One event, one step. Frees `unplug` when that was the last and nobody else uses it. */
static void unplug_tell(Unplug *unplug, UnplugEvent event) {
        Unplugs *unplugs = unplug->unplugs;
        Function *function = unplug_function(unplug);
        PciAddress address = pci_address_from_key(unplug->key);
        UnplugStep step = unplug_step(unplug->state, event);
        bool changed = false;

        log_full(LOG_DEBUG, &address, NULL, "unplug: %s, %s, now %s",
                 unplug_state_to_string(unplug->state), unplug_event_to_string(event),
                 unplug_state_to_string(step.state));
        unplug->state = step.state;
        unplug->depth++;
        if (function && step.state != UNPLUG_STATE_GONE) {
                FunctionState shown = unplug_state_shown(step.state);

                changed = function->state != shown;
                if (changed) {
                        function->state = shown;
                        topology_update(function);
                        property_set_add(&function->changes, FUNCTION_PROPERTY_STATE);
                        unplugs->handler->changed(unplugs->context, function);
                }
        }
        act(unplug, step.actions);
        if (changed && unplug_function(unplug))
                unplugs->handler->entered(unplugs->context, unplug_function(unplug));
        unplug_put(unplug);
}

static Unplug *unplug_new(Unplugs *unplugs, const Function *function) {
        Unplug *unplug = g_new0(Unplug, 1);

        unplug->unplugs = unplugs;
        unplug->key = function->facts.key;
        unplug->state = UNPLUG_STATE_PRESENT;
        unplug->n_awaited = count_awaited(unplug, function);
        g_hash_table_insert(unplugs->entries, &unplug->key, unplug);
        return unplug;
}

int unplugs_request(Unplugs *unplugs, Function *function, uint64_t timeout_usec, bool insist,
                    unsigned flags, UnplugDone *done, void *context) {
        Unplug *unplug = g_hash_table_lookup(unplugs->entries, &function->facts.key);

        if (unplug)
                return -EBUSY;
        unplug = unplug_new(unplugs, function);
        unplug->insist = insist;
        unplug->flags = flags;
        unplug->n_awaited = count_awaited(unplug, function);
        unplug->timeout_usec = timeout_usec;
        unplug->done = done;
        unplug->done_context = context;
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
        n = count_awaited(unplug, function);
        before = unplug->n_awaited;
        unplug->n_awaited = n;
        if (is_waiting(unplug))
                go_on(unplug);
        else if (unplug->state == UNPLUG_STATE_OVERTAKEN && unplug_is_left(function))
                unplug_tell(unplug, UNPLUG_EVENT_UNBOUND);
        else if (n == 0 && before > 0)
                unplug_tell(unplug, UNPLUG_EVENT_USERS_GONE);
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

void unplugs_retry(Unplugs *unplugs, bool users_looked) {
        g_autoptr(GArray) keys = unplugs_keys(unplugs);

        for (guint i = 0; i < keys->len; i++) {
                Unplug *unplug =
                        g_hash_table_lookup(unplugs->entries, &g_array_index(keys, PciKey, i));

                if (unplug)
                        unplug->users_looked |= users_looked;
                if (unplug && is_waiting(unplug))
                        go_on(unplug);
        }
}

void unplugs_blockers_changed(Unplugs *unplugs) {
        g_autoptr(GArray) keys = unplugs_keys(unplugs);

        for (guint i = 0; i < keys->len; i++) {
                const Unplug *unplug =
                        g_hash_table_lookup(unplugs->entries, &g_array_index(keys, PciKey, i));

                if (unplug && unplug_state_reversible(unplug->state))
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
