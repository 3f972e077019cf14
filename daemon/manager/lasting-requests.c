#include "daemon/manager/lasting-requests.h"

#include "daemon/base/log.h"
#include "daemon/base/util.h"
#include "daemon/guard/inhibitors.h"
#include "daemon/manager/slices.h"
#include "policy/topology.h"

#include <errno.h>
#include <string.h>

struct LastingRequests {
        Apply *apply;
        const PartContext *context;
        StateKeeper *state;
        GPtrArray *inhibitions; /* of Inhibition*, owned: those that are not done yet */
};

/* An inhibitor whose functions are being locked. */
typedef struct Inhibition {
        LastingRequests *requests;
        uint64_t number;
        Slices *slices;
        int fd;
        ManagerInhibited *done;
        void *context;
} Inhibition;

static void inhibition_free(gpointer data) {
        Inhibition *inhibition = data;

        slices_free(inhibition->slices);
        closep(&inhibition->fd);
        g_free(inhibition);
}

LastingRequests *lasting_requests_new(Apply *apply) {
        LastingRequests *requests = g_new(LastingRequests, 1);

        *requests = (LastingRequests){
                .apply = apply,
                .context = apply_context(apply),
                .state = apply_state(apply),
                .inhibitions = g_ptr_array_new_with_free_func(inhibition_free),
        };
        return requests;
}

LastingRequests *lasting_requests_free(LastingRequests *requests) {
        if (!requests)
                return NULL;
        g_ptr_array_unref(requests->inhibitions);
        g_free(requests);
        return NULL;
}

void lasting_requests_set_lock(LastingRequests *requests, Function *function, char *why) {
        if (g_strcmp0(why, function->lock_why) != 0)
                state_keeper_mark_changed(requests->state);
        /* Without a lock the property is empty, too. */
        if (g_strcmp0(why ? why : "", function->lock_why ? function->lock_why : "") != 0)
                property_set_add(&function->changes, FUNCTION_PROPERTY_LOCK_WHY);
        g_free(function->lock_why);
        function->lock_why = why;
        topology_update(function);
}

/* What stood there before a lock or an unlock. */
typedef struct LockChange {
        LastingRequests *requests;
        Function *function;
        char *why; /* NULL: no lock */
} LockChange;

static void undo_lock_change(void *context) {
        LockChange *change = context;

        lasting_requests_set_lock(change->requests, change->function,
                                  g_steal_pointer(&change->why));
        property_set_remove(&change->function->changes, FUNCTION_PROPERTY_LOCK_WHY);
}

static int change_lock(LastingRequests *requests, Function *function, const char *why) {
        LockChange change = { requests, function, g_strdup(function->lock_why) };
        g_autoptr(GPtrArray) functions = g_ptr_array_new();
        int r;

        g_ptr_array_add(functions, function);
        lasting_requests_set_lock(requests, function, g_strdup(why));
        r = apply_request(requests->apply, functions, undo_lock_change, &change);
        g_free(change.why);
        if (r >= 0)
                parts_tell_blockers(requests->context, function);
        return r;
}

int lasting_requests_lock(LastingRequests *requests, Function *function, const char *why) {
        return strlen(why) > MANAGER_LOCK_WHY_MAX ? -EINVAL : change_lock(requests, function, why);
}

int lasting_requests_unlock(LastingRequests *requests, Function *function) {
        return change_lock(requests, function, NULL);
}

/* --- inhibitors */

/* Nothing of it stays: what was locked for it already is unlocked in the next rounds. */
static void undo_inhibition(void *context) {
        const Inhibition *inhibition = context;
        const LastingRequests *requests = inhibition->requests;
        g_autoptr(GPtrArray) functions = slices_functions(inhibition->slices);

        inhibitors_remove(part_find(requests->context, inhibitors_part), inhibition->number);
        state_keeper_mark_changed(requests->state);
        for (guint i = 0; i < functions->len; i++)
                apply_queue(requests->apply, functions->pdata[i]);
}

/* A pending unplug waits for the inhibitor, too. */
static void tell_inhibited(const Inhibition *inhibition) {
        const PartContext *context = inhibition->requests->context;
        g_autoptr(GPtrArray) functions = slices_functions(inhibition->slices);

        for (guint i = 0; i < functions->len; i++)
                parts_tell_blockers(context, functions->pdata[i]);
}

static void inhibition_fail(LastingRequests *requests, int r, ManagerInhibited *done,
                            void *context) {
        g_autofree char *failure = state_keeper_describe_failure(requests->state, r);

        if (r == -EDQUOT)
                done(context, r, "this user, or all users, have too many inhibitors", -1);
        else
                done(context, -EIO, failure, -1);
}

static int inhibition_result(int r) {
        return r == -EDQUOT ? -ENOSPC : r; /* the disk's quota, not the user's */
}

static void on_inhibition_done(void *context, int result) {
        Inhibition *inhibition = context;

        if (result < 0)
                inhibition_fail(inhibition->requests, inhibition_result(result), inhibition->done,
                                inhibition->context);
        else {
                tell_inhibited(inhibition);
                inhibition->done(inhibition->context, 0, NULL, inhibition->fd);
        }
        g_ptr_array_remove(inhibition->requests->inhibitions, inhibition);
}

static const SlicesHandler inhibition_handler = { .undo = undo_inhibition,
                                                  .done = on_inhibition_done };

/* It counts on all its functions from here on. */
static int inhibition_new(LastingRequests *requests, const PciKey *keys, size_t n_keys,
                          const Inhibitor *inhibitor, Inhibition **ret) {
        Inhibition *inhibition;
        uint64_t number;
        int fd, r;

        r = inhibitors_add(part_find(requests->context, inhibitors_part), keys, n_keys, inhibitor,
                           &number, &fd);
        if (r < 0)
                return r;
        state_keeper_mark_changed(requests->state);
        inhibition = g_new(Inhibition, 1);
        *inhibition = (Inhibition){ .requests = requests, .number = number, .fd = fd };
        inhibition->slices =
                slices_new(requests->apply, keys, n_keys, &inhibition_handler, inhibition);
        *ret = inhibition;
        return 0;
}

int lasting_requests_inhibit(LastingRequests *requests, PciKey key, const Inhibitor *inhibitor,
                             int *ret_fd) {
        Inhibition *inhibition;
        int r;

        r = inhibition_new(requests, &key, 1, inhibitor, &inhibition);
        if (r < 0)
                return r;
        r = inhibition_result(slices_begin(inhibition->slices));
        if (r >= 0) {
                tell_inhibited(inhibition);
                *ret_fd = take_fd(&inhibition->fd);
        }
        inhibition_free(inhibition);
        return r;
}

bool lasting_requests_may_inhibit(const LastingRequests *requests, uint32_t uid,
                                  size_t n_functions) {
        return inhibitors_have_room(part_find(requests->context, inhibitors_part), uid,
                                    n_functions);
}

void lasting_requests_inhibit_many(LastingRequests *requests, const PciKey *keys, size_t n_keys,
                                   const Inhibitor *inhibitor, ManagerInhibited *done,
                                   void *context) {
        Inhibition *inhibition;
        int r;

        r = inhibition_new(requests, keys, n_keys, inhibitor, &inhibition);
        if (r < 0) {
                inhibition_fail(requests, r, done, context);
                return;
        }
        inhibition->done = done;
        inhibition->context = context;
        g_ptr_array_add(requests->inhibitions, inhibition);
        r = slices_begin(inhibition->slices);
        if (r <= 0)
                on_inhibition_done(inhibition, r);
}

void lasting_requests_end_calls(LastingRequests *requests, const char *why) {
        for (guint i = 0; i < requests->inhibitions->len; i++) {
                const Inhibition *inhibition = requests->inhibitions->pdata[i];

                inhibition->done(inhibition->context, -ECANCELED, why, -1);
        }
        g_ptr_array_set_size(requests->inhibitions, 0);
}

void lasting_requests_foreach_inhibitor(const LastingRequests *requests,
                                        void (*visit)(void *context, PciKey key,
                                                      const Inhibitor *inhibitor),
                                        void *context) {
        inhibitors_foreach(part_find(requests->context, inhibitors_part), visit, context);
}
