#include "daemon/guard/unplug-entry.h"

#include "daemon/base/log.h"
#include "daemon/base/util.h"
#include "daemon/base/wakeup.h"
#include "policy/check.h"
#include "policy/topology.h"

void unplug_free(gpointer data) {
        Unplug *unplug = data;

        sd_event_source_disable_unref(unplug->deadline);
        g_free(unplug->message);
        g_free(unplug);
}

Function *unplug_function(const Unplug *unplug) {
        return inventory_get(unplug->unplugs->inventory, unplug->key);
}

unsigned unplug_count_awaited(const Unplug *unplug, const Function *function) {
        return check_unplug_others(unplug->unplugs->inventory, function, unplug->flags) +
               (unplug->insist ? 0 : check_unplug_users(function));
}

void unplug_put(Unplug *unplug) {
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
        unplug->blocked = r == -EBUSY && !why;
        /* Something related is in progress, or what cannot be cancelled cannot be saved: when that
         * has ended, it is tried again. Nothing has been done yet where a caller waits. */
        if (why && unplug->done && unplug->state == UNPLUG_STATE_UNBINDING)
                fail_with(unplug, g_steal_pointer(&why));
        else if (r < 0 && r != -EBUSY && !why)
                fail(unplug, "it cannot be started", r, operation_to_string(operation));
}

void unplug_look(Unplug *unplug) {
        Unplugs *unplugs = unplug->unplugs;

        unplug->look = ++unplugs->n_looks;
        unplugs->handler->look(unplugs->context, unplug_function(unplug), unplug->look);
}

/* No process works any more on what an earlier run began, and the function has a driver. Who came
 * since then was not asked. */
static void go_on_unbinding(Unplug *unplug, const Function *function) {
        PciAddress address = pci_address_from_key(unplug->key);

        if (function->unplug_asked && unplug_users_are_among(function, function->unplug_asked) &&
            check_unplug_others(unplug->unplugs->inventory, function, 0) == 0) {
                begin(unplug, OPERATION_UNBIND, plan_release(function), on_released);
                return;
        }
        log_full(LOG_WARNING, &address, NULL,
                 "Its unplug of an earlier run ends here: it is bound again, or used by others");
        fail(unplug, "it is bound", 0, NULL);
}

/* As far as is known without another look. */
static bool can_release(const Unplug *unplug, const Function *function) {
        if (unplug->resumed)
                return unplug->users_looked && !unplug_is_taken_outside(function) &&
                       unplug_users_are_known(function);
        return unplug_count_awaited(unplug, function) == 0;
}

/* Unless one is at it already, left by an earlier run: when that ends, it is looked at again. Who
 * came while this waited is looked for: not everything that the host does is reported by an event.
 */
static void begin_release(Unplug *unplug) {
        const Function *function = unplug_function(unplug);
        bool looked = unplug->looked, is_free = unplug->resumed && !unplug_has_driver(function);

        unplug->looked = false;
        if (function->operation || check_unplug_unreadable(function) ||
            (!is_free && !can_release(unplug, function)))
                return;
        if (is_free || (looked && !unplug->resumed))
                begin(unplug, OPERATION_UNBIND, plan_release(function), on_released);
        else if (looked)
                go_on_unbinding(unplug, function);
        else if (unplug->look == 0)
                unplug_look(unplug);
}

static void begin_removal(Unplug *unplug) {
        const Function *function = unplug_function(unplug);
        g_autofree char *slot_power = NULL;

        if (!slot_search_find(unplug->unplugs->slots, function, &slot_power))
                return;
        begin(unplug, slot_power ? OPERATION_POWER_OFF : OPERATION_REMOVE,
              plan_remove(function, slot_power), on_removed);
}

bool unplug_is_waiting(const Unplug *unplug) {
        return (unplug->state == UNPLUG_STATE_UNBINDING ||
                unplug->state == UNPLUG_STATE_REMOVING) &&
               !unplug->working && !unplug_function(unplug)->operation;
}

/* Somebody may have bound and opened the function while its removal waited: see the third rule of
 * policy/unplug.h. */
void unplug_go_on(Unplug *unplug) {
        const Function *function = unplug_function(unplug);

        if (unplug->state == UNPLUG_STATE_UNBINDING)
                begin_release(unplug);
        else if (topology_still_bound(function)) {
                slot_search_forget(unplug->unplugs->slots, unplug->key);
                fail(unplug, "it cannot be removed", 0, NULL);
        } else if (check_unplug_users(function) == 0 && !check_unplug_unreadable(function))
                begin_removal(unplug);
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

void unplug_tell(Unplug *unplug, UnplugEvent event) {
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

Unplug *unplug_new(Unplugs *unplugs, const Function *function) {
        Unplug *unplug = g_new0(Unplug, 1);

        unplug->unplugs = unplugs;
        unplug->key = function->facts.key;
        unplug->state = UNPLUG_STATE_PRESENT;
        unplug->n_awaited = unplug_count_awaited(unplug, function);
        g_hash_table_insert(unplugs->entries, &unplug->key, unplug);
        return unplug;
}
