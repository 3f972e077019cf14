#include "daemon/manager/lasting-requests.h"

#include "daemon/base/log.h"
#include "daemon/base/util.h"
#include "daemon/guard/inhibitors.h"
#include "daemon/guard/kernel-guard.h"
#include "daemon/guard/protected-files.h"
#include "daemon/guard/stray-files.h"
#include "policy/topology.h"

#include <errno.h>
#include <string.h>

/* So many functions of one request are locked in one turn of the loop, which must not be long. */
#define SLICE_FUNCTIONS 32U

struct LastingRequests {
        Apply *apply;
        const PartContext *context;
        StateKeeper *state;
        Settings *settings;
        Publisher *publisher;
        GPtrArray *inhibitions; /* of Inhibition*, owned: those that are not done yet */
};

/* An inhibitor whose functions are being locked. */
typedef struct Inhibition {
        LastingRequests *requests;
        uint64_t number;
        PciKey *keys;
        size_t n_keys, n_locked;
        int fd;
        sd_event_source *next; /* slice */
        ManagerInhibited *done;
        void *context;
} Inhibition;

static void inhibition_free(gpointer data) {
        Inhibition *inhibition = data;

        sd_event_source_disable_unref(inhibition->next);
        closep(&inhibition->fd);
        g_free(inhibition->keys);
        g_free(inhibition);
}

LastingRequests *lasting_requests_new(Apply *apply, Settings *settings, Publisher *publisher) {
        LastingRequests *requests = g_new(LastingRequests, 1);

        *requests = (LastingRequests){
                .apply = apply,
                .context = apply_context(apply),
                .state = apply_state(apply),
                .settings = settings,
                .publisher = publisher,
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

static void set_lock_why(LastingRequests *requests, Function *function, char *why) {
        if (g_strcmp0(why, function->lock_why) != 0)
                state_keeper_mark_changed(requests->state);
        /* Without a lock the property is empty, too. */
        if (g_strcmp0(why ? why : "", function->lock_why ? function->lock_why : "") != 0)
                property_set_add(&function->changes, FUNCTION_PROPERTY_LOCK_WHY);
        g_free(function->lock_why);
        function->lock_why = why;
        topology_update(function);
        apply_queue(requests->apply, function);
}

/* What stood there before a lock or an unlock. */
typedef struct LockChange {
        LastingRequests *requests;
        Function *function;
        char *why; /* NULL: no lock */
} LockChange;

static void undo_lock_change(void *context) {
        LockChange *change = context;

        set_lock_why(change->requests, change->function, g_steal_pointer(&change->why));
        property_set_remove(&change->function->changes, FUNCTION_PROPERTY_LOCK_WHY);
}

static int change_lock(LastingRequests *requests, Function *function, const char *why) {
        LockChange change = { requests, function, g_strdup(function->lock_why) };
        g_autoptr(GPtrArray) functions = g_ptr_array_new();
        int r;

        g_ptr_array_add(functions, function);
        set_lock_why(requests, function, g_strdup(why));
        r = apply_request(requests->apply, functions, undo_lock_change, &change);
        g_free(change.why);
        return r;
}

int lasting_requests_lock(LastingRequests *requests, Function *function, const char *why) {
        return strlen(why) > MANAGER_LOCK_WHY_MAX ? -EINVAL : change_lock(requests, function, why);
}

int lasting_requests_unlock(LastingRequests *requests, Function *function) {
        return change_lock(requests, function, NULL);
}

/* --- inhibitors */

/* Those of the functions that are there; borrowed. */
static GPtrArray *find_functions(const LastingRequests *requests, const PciKey *keys,
                                 size_t n_keys) {
        GPtrArray *functions = g_ptr_array_new();

        for (size_t i = 0; i < n_keys; i++) {
                Function *function = inventory_get(requests->context->inventory, keys[i]);

                if (function)
                        g_ptr_array_add(functions, function);
        }
        return functions;
}

/* Nothing of it stays: what was locked for it already is unlocked in the next rounds. */
static void undo_inhibition(void *context) {
        const Inhibition *inhibition = context;
        const LastingRequests *requests = inhibition->requests;
        g_autoptr(GPtrArray) functions =
                find_functions(requests, inhibition->keys, inhibition->n_keys);

        inhibitors_remove(part_find(requests->context, inhibitors_part), inhibition->number);
        state_keeper_mark_changed(requests->state);
        for (guint i = 0; i < functions->len; i++)
                apply_queue(requests->apply, functions->pdata[i]);
}

/* The next functions of it. What makes it last is saved before the first file is locked. */
static int lock_slice(Inhibition *inhibition) {
        LastingRequests *requests = inhibition->requests;
        size_t n = MIN(inhibition->n_keys - inhibition->n_locked, SLICE_FUNCTIONS);
        g_autoptr(GPtrArray) functions =
                find_functions(requests, inhibition->keys + inhibition->n_locked, n);
        int r;

        r = apply_request(requests->apply, functions, undo_inhibition, inhibition);
        inhibition->n_locked += n;
        return r == -EDQUOT ? -ENOSPC : r; /* the disk's quota, not the user's */
}

/* A pending unplug waits for the inhibitor, too. */
static void tell_inhibited(const Inhibition *inhibition) {
        const PartContext *context = inhibition->requests->context;
        g_autoptr(GPtrArray) functions =
                find_functions(inhibition->requests, inhibition->keys, inhibition->n_keys);

        for (guint i = 0; i < functions->len; i++) {
                Function *function = functions->pdata[i];

                context->host->tell(context->host_context, function, PART_NEWS_INHIBITORS);
                if (function->pf)
                        context->host->tell(context->host_context, function->pf,
                                            PART_NEWS_INHIBITORS);
        }
}

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
        *inhibition = (Inhibition){
                .requests = requests,
                .number = number,
                .keys = g_memdup2(keys, n_keys * sizeof(*keys)),
                .n_keys = n_keys,
                .fd = fd,
        };
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
        r = lock_slice(inhibition);
        if (r >= 0) {
                tell_inhibited(inhibition);
                *ret_fd = take_fd(&inhibition->fd);
        }
        inhibition_free(inhibition);
        return r;
}

static void inhibition_fail(LastingRequests *requests, int r, ManagerInhibited *done,
                            void *context) {
        g_autofree char *failure = state_keeper_describe_failure(requests->state, r);

        if (r == -EDQUOT)
                done(context, r, "this user, or all users, have too many inhibitors", -1);
        else
                done(context, -EIO, failure, -1);
}

static void inhibition_end(Inhibition *inhibition, int r) {
        if (r < 0)
                inhibition_fail(inhibition->requests, r, inhibition->done, inhibition->context);
        else {
                tell_inhibited(inhibition);
                inhibition->done(inhibition->context, 0, NULL, inhibition->fd);
        }
        g_ptr_array_remove(inhibition->requests->inhibitions, inhibition);
}

static int on_next_slice(sd_event_source *source, void *userdata) {
        Inhibition *inhibition = userdata;
        int r = lock_slice(inhibition);

        if (r < 0 || inhibition->n_locked == inhibition->n_keys)
                inhibition_end(inhibition, r);
        else
                (void) sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
        return 0;
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
        r = sd_event_add_defer(requests->context->event, &inhibition->next, on_next_slice,
                               inhibition);
        if (r < 0)
                undo_inhibition(inhibition);
        else
                r = lock_slice(inhibition);
        if (r < 0 || inhibition->n_locked == n_keys)
                inhibition_end(inhibition, r);
        else
                (void) sd_event_source_set_description(inhibition->next, "inhibit-many");
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

static void tell_enforcement(LastingRequests *requests, bool before) {
        if (settings_enforce(requests->settings) != before)
                publisher_enforcement_changed(requests->publisher);
}

/* What was in force before a reload. */
typedef struct Reload {
        LastingRequests *requests;
        Config *config;
        bool released;
} Reload;

static void swap_config(Reload *reload) {
        LastingRequests *requests = reload->requests;
        bool released = settings_are_released(requests->settings);
        Function *function;

        reload->config = settings_swap(requests->settings, reload->config);
        settings_set_released(requests->settings, reload->released);
        reload->released = released;
        inventory_foreach (requests->context->inventory, function)
                function->emulated =
                        config_emulates(settings_config(requests->settings), function->facts.key);
        apply_queue_all(requests->apply);
}

static void undo_reload(void *context) {
        swap_config(context);
}

/* A reload that ends a release must outlive the daemon: the next one would enforce nothing. Of any
 * other the next daemon reads the same files. */
static int apply_config(LastingRequests *requests, Config *config) {
        Reload reload = { requests, config, false };
        bool was_released = settings_are_released(requests->settings);
        int r;

        apply_now(requests->apply); /* what else there is to do is not this request's */
        if (was_released)
                state_keeper_mark_changed(requests->state);
        swap_config(&reload);
        r = apply_request(requests->apply, NULL, was_released ? undo_reload : NULL, &reload);
        config_free(reload.config);
        return was_released ? r : 0;
}

int lasting_requests_reload(LastingRequests *requests, char **ret_error) {
        g_autoptr(Config) config = NULL;
        bool enforced = settings_enforce(requests->settings);
        int r;

        r = settings_load(requests->settings, &config, ret_error);
        if (r < 0)
                return r;
        r = apply_config(requests, g_steal_pointer(&config));
        if (r < 0) {
                *ret_error = state_keeper_describe_failure(requests->state, r);
                return r;
        }
        settings_resolve(requests->settings);
        settings_show_release(requests->settings);
        tell_enforcement(requests, enforced);
        publisher_settings_changed(requests->publisher);
        log_info("the configuration was read again");
        return 0;
}

/* The locks that were forgotten, in case that they have to be remembered again. */
typedef struct Release {
        LastingRequests *requests;
        GPtrArray *changes; /* of LockChange*, owned */
        bool before;
} Release;

static void lock_change_free(gpointer data) {
        LockChange *change = data;

        g_free(change->why);
        g_free(change);
}

static void undo_release(void *context) {
        Release *release = context;

        settings_set_released(release->requests->settings, release->before);
        for (guint i = 0; i < release->changes->len; i++)
                undo_lock_change(release->changes->pdata[i]);
}

static void forget_locks(LastingRequests *requests, GPtrArray *changes) {
        Function *function;

        inventory_foreach (requests->context->inventory, function) {
                LockChange *change;

                if (!function->lock_why)
                        continue;
                change = g_new(LockChange, 1);
                *change = (LockChange){ requests, function, g_strdup(function->lock_why) };
                g_ptr_array_add(changes, change);
                set_lock_why(requests, function, NULL);
        }
}

int lasting_requests_release_all(LastingRequests *requests, GPtrArray **ret) {
        g_autoptr(GPtrArray) changes = g_ptr_array_new_with_free_func(lock_change_free);
        g_autoptr(GPtrArray) paths = NULL;
        Release release = { requests, changes, settings_are_released(requests->settings) };
        bool enforced = settings_enforce(requests->settings);
        Function *function;
        int r;

        apply_now(requests->apply); /* what else there is to do is not this request's */
        paths = protected_files_list(part_find(requests->context, protected_files_part));
        settings_set_released(requests->settings, true);
        state_keeper_mark_changed(requests->state);
        forget_locks(requests, changes);
        apply_queue_all(requests->apply);
        r = apply_request(requests->apply, NULL, undo_release, &release);
        if (r < 0)
                return r;
        kernel_guards_release(part_find(requests->context, kernel_guard_part));
        inventory_foreach (requests->context->inventory, function)
                stray_files_unlock(part_find(requests->context, protected_files_part),
                                   requests->context->reserve, function, paths);
        tell_enforcement(requests, enforced);
        settings_show_release(requests->settings);
        log_notice("%u files were unlocked; nothing is enforced until a reload or restart",
                   paths->len);
        *ret = g_steal_pointer(&paths);
        return 0;
}

void lasting_requests_end_release(LastingRequests *requests) {
        if (!settings_are_released(requests->settings))
                return;
        settings_set_released(requests->settings, false);
        state_keeper_mark_changed(requests->state);
        (void) state_keeper_save(requests->state);
}
