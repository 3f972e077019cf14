#include "daemon/manager/enforcement.h"

#include "daemon/base/log.h"
#include "daemon/guard/kernel-guard.h"
#include "daemon/guard/protected-files.h"
#include "daemon/guard/stray-files.h"
#include "daemon/guard/unplug.h"
#include "daemon/manager/slices.h"

#include <errno.h>

struct Enforcement {
        Apply *apply;
        const PartContext *context;
        StateKeeper *state;
        Settings *settings;
        Publisher *publisher;
        LastingRequests *lasting;
        GPtrArray *changes; /* of Change*, owned: those whose files are not done yet */
};

/* A reload or a release. */
typedef struct Change {
        Enforcement *enforcement;
        Slices *slices;
        Config *config;      /* that the other rules need if they come back, NULL for a release */
        bool released;       /* what was before it */
        GPtrArray *lost;     /* of LostLock*, owned: the locks that a release forgets */
        GPtrArray *paths;    /* of strings, owned: the files that a release unlocks */
        GPtrArray *failures; /* of strings, owned: what it could not */
        ManagerDone *reloaded;
        ManagerReleased *done_release;
        void *context;
} Change;

typedef struct LostLock {
        Function *function; /* borrowed, until the first slice is applied */
        char *why;
} LostLock;

static void lost_lock_free(gpointer data) {
        LostLock *lost = data;

        g_free(lost->why);
        g_free(lost);
}

static void change_free(gpointer data) {
        Change *change = data;

        slices_free(change->slices);
        config_free(change->config);
        g_clear_pointer(&change->lost, g_ptr_array_unref);
        g_clear_pointer(&change->paths, g_ptr_array_unref);
        g_clear_pointer(&change->failures, g_ptr_array_unref);
        g_free(change);
}

Enforcement *enforcement_new(Apply *apply, Settings *settings, Publisher *publisher,
                             LastingRequests *lasting) {
        Enforcement *enforcement = g_new(Enforcement, 1);

        *enforcement = (Enforcement){
                .apply = apply,
                .context = apply_context(apply),
                .state = apply_state(apply),
                .settings = settings,
                .publisher = publisher,
                .lasting = lasting,
                .changes = g_ptr_array_new_with_free_func(change_free),
        };
        return enforcement;
}

Enforcement *enforcement_free(Enforcement *enforcement) {
        if (!enforcement)
                return NULL;
        g_ptr_array_unref(enforcement->changes);
        g_free(enforcement);
        return NULL;
}

static Change *change_new(Enforcement *enforcement, const SlicesHandler *handler, void *context) {
        const Inventory *inventory = enforcement->context->inventory;
        g_autoptr(GArray) keys = g_array_new(FALSE, FALSE, sizeof(PciKey));
        Change *change = g_new0(Change, 1);
        const Function *function;

        inventory_foreach (inventory, function)
                g_array_append_val(keys, function->facts.key);
        change->enforcement = enforcement;
        change->released = settings_are_released(enforcement->settings);
        change->slices = slices_new(enforcement->apply, (const PciKey *) keys->data, keys->len,
                                    handler, change);
        change->context = context;
        g_ptr_array_add(enforcement->changes, change);
        return change;
}

static void change_end(Change *change, int result, const char *message) {
        if (change->reloaded)
                change->reloaded(change->context, result, message);
        else
                change->done_release(change->context, result, message, change->paths);
        g_ptr_array_remove(change->enforcement->changes, change);
}

static void change_fail(Change *change, int r) {
        g_autofree char *text = state_keeper_describe_failure(change->enforcement->state, r);

        change_end(change, -EIO, text);
}

/* `enforced`: what clients know. */
static void show_settings(const Enforcement *enforcement, bool enforced) {
        if (settings_enforce(enforcement->settings) != enforced)
                publisher_enforcement_changed(enforcement->publisher);
        settings_show_release(enforcement->settings);
}

/* --- Reload() */

static void swap_config(Change *change) {
        const Enforcement *enforcement = change->enforcement;
        bool released = settings_are_released(enforcement->settings);
        Function *function;

        change->config = settings_swap(enforcement->settings, change->config);
        settings_set_released(enforcement->settings, change->released);
        change->released = released;
        inventory_foreach (enforcement->context->inventory, function)
                function->emulated = config_emulates(settings_config(enforcement->settings),
                                                     function->facts.key);
}

static void undo_reload(void *context) {
        swap_config(context);
}

static void on_reload_done(void *context, int result) {
        log_info("the configuration was read again");
        change_end(context, result, NULL);
}

/* A reload that ends a release must outlive the daemon: the next one would enforce nothing. Of any
 * other the next daemon reads the same files. */
static int begin_reload(Change *change) {
        Enforcement *enforcement = change->enforcement;
        bool was_released = change->released;

        if (was_released)
                state_keeper_mark_changed(enforcement->state);
        change->released = false;
        swap_config(change);
        return slices_begin(change->slices);
}

void enforcement_reload(Enforcement *enforcement, ManagerDone *done, void *context) {
        static const SlicesHandler ends_release = { .undo = undo_reload,
                                                    .saved_first = true,
                                                    .done = on_reload_done };
        static const SlicesHandler goes_on = { .saved_first = true, .done = on_reload_done };
        bool enforced = settings_enforce(enforcement->settings);
        g_autofree char *error = NULL;
        Config *config;
        Change *change;
        int r;

        r = settings_load(enforcement->settings, &config, &error);
        if (r < 0) {
                done(context, -EIO, error);
                return;
        }
        change = change_new(enforcement,
                            settings_are_released(enforcement->settings) ? &ends_release : &goes_on,
                            context);
        change->config = config;
        change->reloaded = done;
        r = begin_reload(change);
        if (r < 0) {
                change_fail(change, r);
                return;
        }
        settings_resolve(enforcement->settings);
        show_settings(enforcement, enforced);
        publisher_settings_changed(enforcement->publisher);
        if (r == 0)
                on_reload_done(change, 0);
}

/* --- ReleaseAll() */

static void forget_locks(Change *change) {
        const Enforcement *enforcement = change->enforcement;
        Function *function;

        change->lost = g_ptr_array_new_with_free_func(lost_lock_free);
        inventory_foreach (enforcement->context->inventory, function) {
                LostLock *lost;

                if (!function->lock_why)
                        continue;
                lost = g_new(LostLock, 1);
                *lost = (LostLock){ function, g_strdup(function->lock_why) };
                g_ptr_array_add(change->lost, lost);
                lasting_requests_set_lock(enforcement->lasting, function, NULL);
        }
}

static void undo_release(void *context) {
        const Change *change = context;
        const Enforcement *enforcement = change->enforcement;

        settings_set_released(enforcement->settings, change->released);
        for (guint i = 0; i < change->lost->len; i++) {
                LostLock *lost = change->lost->pdata[i];

                lasting_requests_set_lock(enforcement->lasting, lost->function,
                                          g_steal_pointer(&lost->why));
                property_set_remove(&lost->function->changes, FUNCTION_PROPERTY_LOCK_WHY);
        }
}

/* A reload that came meanwhile may have locked them again. */
static void on_some_released(void *context, const GPtrArray *functions) {
        const Change *change = context;
        const PartContext *parts = change->enforcement->context;

        if (!settings_are_released(change->enforcement->settings))
                return;
        for (guint i = 0; i < functions->len; i++)
                stray_files_unlock(part_find(parts, protected_files_part), parts->reserve,
                                   functions->pdata[i], change->paths, change->failures);
}

/* What is known still was not unlocked. */
static void take_failures(Change *change, const ProtectedFiles *files) {
        g_autoptr(GPtrArray) locked = protected_files_list(files);

        for (guint i = 0; i < locked->len; i++) {
                const char *path = locked->pdata[i];
                const char *why = g_strerror(-protected_files_error(files, path));

                g_ptr_array_add(change->failures,
                                g_strdup_printf("%s stays locked: %s", path, why));
        }
        for (guint i = change->paths->len; i > 0; i--)
                if (protected_files_know(files, change->paths->pdata[i - 1]))
                        g_ptr_array_remove_index_fast(change->paths, i - 1);
}

/* The message names the first one; the journal has all. */
static char *describe_failures(const GPtrArray *failures) {
        if (failures->len == 1)
                return g_strdup(failures->pdata[0]);
        return g_strdup_printf("%s (and %u more)", (const char *) failures->pdata[0],
                               failures->len - 1);
}

static void on_release_done(void *context, int result) {
        Change *change = context;
        ProtectedFiles *files = part_find(change->enforcement->context, protected_files_part);

        if (!settings_are_released(change->enforcement->settings)) {
                change_end(change, -ECANCELED, "the configuration was read again meanwhile");
                return;
        }
        protected_files_unlock_rest(files);
        take_failures(change, files);
        unplugs_blockers_changed(part_find(change->enforcement->context, unplugs_part));
        log_notice("%u files were unlocked; nothing is enforced until a reload or restart",
                   change->paths->len);
        if (change->failures->len > 0) {
                g_autofree char *text = describe_failures(change->failures);

                change_end(change, -EIO, text);
        } else
                change_end(change, result, NULL);
}

void enforcement_release_all(Enforcement *enforcement, ManagerReleased *done, void *context) {
        static const SlicesHandler handler = { .undo = undo_release,
                                               .saved_first = true,
                                               .applied = on_some_released,
                                               .done = on_release_done };
        bool enforced = settings_enforce(enforcement->settings);
        Change *change = change_new(enforcement, &handler, context);
        int r;

        change->done_release = done;
        change->failures = g_ptr_array_new_with_free_func(g_free);
        change->paths = protected_files_list(part_find(enforcement->context, protected_files_part));
        settings_set_released(enforcement->settings, true);
        state_keeper_mark_changed(enforcement->state);
        forget_locks(change);
        r = slices_begin(change->slices);
        g_clear_pointer(&change->lost, g_ptr_array_unref);
        if (r < 0) {
                change_fail(change, r);
                return;
        }
        kernel_guards_release(part_find(enforcement->context, kernel_guard_part));
        show_settings(enforcement, enforced);
        if (r == 0)
                on_release_done(change, 0);
}

void enforcement_end_release(Enforcement *enforcement) {
        if (!settings_are_released(enforcement->settings))
                return;
        settings_set_released(enforcement->settings, false);
        state_keeper_mark_changed(enforcement->state);
        (void) state_keeper_save(enforcement->state);
}

void enforcement_end_calls(Enforcement *enforcement, const char *why) {
        while (enforcement->changes->len > 0)
                change_end(enforcement->changes->pdata[0], -ECANCELED, why);
}
