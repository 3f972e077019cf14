/* Requests that outlive the daemon: administrators' locks, inhibitors, reloading and releasing all.
 * Each is saved before it is answered, or taken back. */
#include "daemon/base/log.h"
#include "daemon/base/util.h"
#include "daemon/manager/manager-internal.h"

#include <errno.h>
#include <string.h>

#define PROBLEM_RELEASED "released"

static void set_lock_why(Manager *manager, Function *function, char *why) {
        if (g_strcmp0(why, function->lock_why) != 0)
                manager->state_dirty = true;
        /* Without a lock the property is empty, too. */
        if (g_strcmp0(why ? why : "", function->lock_why ? function->lock_why : "") != 0)
                property_set_add(&function->changes, FUNCTION_PROPERTY_LOCK_WHY);
        g_free(function->lock_why);
        function->lock_why = why;
        manager_queue(manager, function);
}

/* What stood there before a lock or an unlock. */
typedef struct LockChange {
        Manager *manager;
        Function *function;
        char *why; /* NULL: no lock */
} LockChange;

static void undo_lock_change(void *context) {
        LockChange *change = context;

        set_lock_why(change->manager, change->function, g_steal_pointer(&change->why));
        property_set_remove(&change->function->changes, FUNCTION_PROPERTY_LOCK_WHY);
}

static int change_lock(Manager *manager, Function *function, const char *why) {
        LockChange change;
        int r;

        manager_apply(manager); /* what else there is to do is not this request's */
        change = (LockChange){ manager, function, g_strdup(function->lock_why) };
        set_lock_why(manager, function, g_strdup(why));
        r = manager_apply_request(manager, undo_lock_change, &change);
        g_free(change.why);
        return r;
}

int manager_lock(Manager *manager, Function *function, const char *why) {
        return strlen(why) > MANAGER_LOCK_WHY_MAX ? -EINVAL : change_lock(manager, function, why);
}

int manager_unlock(Manager *manager, Function *function) {
        return change_lock(manager, function, NULL);
}

typedef struct NewInhibitor {
        Manager *manager;
        uint64_t number;
} NewInhibitor;

static void undo_inhibitor(void *context) {
        const NewInhibitor *added = context;

        inhibitors_remove(added->manager->inhibitors, added->number);
}

int manager_inhibit(Manager *manager, PciKey key, const Inhibitor *inhibitor, int *ret_fd) {
        NewInhibitor added = { .manager = manager };
        _cleanup_(closep) int fd = -1;
        Function *function;
        int r;

        manager_apply(manager); /* what else there is to do is not this request's */
        r = inhibitors_add(manager->inhibitors, key, inhibitor, &added.number, &fd);
        if (r < 0)
                return r;
        manager->state_dirty = true;
        function = inventory_get(manager->inventory, key);
        if (function)
                manager_queue(manager, function);
        r = manager_apply_request(manager, undo_inhibitor, &added);
        if (r < 0)
                return r == -EDQUOT ? -ENOSPC : r; /* the disk's quota, not the user's */
        *ret_fd = take_fd(&fd);
        return 0;
}

char *manager_describe_failure(const Manager *manager, int error) {
        if (error == -EXFULL)
                return g_strdup(fd_store_error(error));
        return g_strdup_printf("Failed to save the state in %s: %s; nothing was changed",
                               manager->state_directory, g_strerror(-error));
}

void manager_foreach_inhibitor(const Manager *manager,
                               void (*visit)(void *context, PciKey key, const Inhibitor *inhibitor),
                               void *context) {
        inhibitors_foreach(manager->inhibitors, visit, context);
}

/* Whoever wonders why nothing is locked finds it in the status. */
void manager_show_release(Manager *manager) {
        if (manager->released)
                problems_report(manager->problems, PROBLEM_RELEASED,
                                "Nothing is locked since release-all opened everything: `systemctl "
                                "reload vfwardend` enforces again");
        else
                problems_resolve(manager->problems, PROBLEM_RELEASED);
}

static void tell_enforcement(Manager *manager, bool before) {
        if (manager->observer && manager_enforces(manager) != before)
                manager->observer->enforcement_changed(manager->observer_context);
}

/* What was in force before a reload. */
typedef struct Reload {
        Manager *manager;
        Config *config;
        bool released;
} Reload;

static void swap_config(Reload *reload) {
        Manager *manager = reload->manager;
        Config *config = manager->config;
        bool released = manager->released;
        Function *function;

        manager->config = reload->config;
        manager->released = reload->released;
        reload->config = config;
        reload->released = released;
        inventory_foreach (manager->inventory, function)
                function->emulated = config_emulates(manager->config, function->facts.key);
        manager_queue_all(manager);
}

static void undo_reload(void *context) {
        swap_config(context);
}

/* A reload that ends a release must outlive the daemon: the next one would enforce nothing. Of any
 * other the next daemon reads the same files. */
static int apply_config(Manager *manager, Config *config) {
        Reload reload = { manager, config, false };
        bool was_released = manager->released;
        int r;

        manager_apply(manager); /* what else there is to do is not this request's */
        manager->state_dirty |= was_released;
        swap_config(&reload);
        r = manager_apply_request(manager, was_released ? undo_reload : NULL, &reload);
        config_free(reload.config);
        return was_released ? r : 0;
}

int manager_reload(Manager *manager, char **ret_error) {
        g_autoptr(Config) config = NULL;
        bool enforced = manager_enforces(manager);
        int r;

        r = config_load(manager->config_directory, &config, ret_error);
        if (r < 0) {
                log_full(LOG_ERR, NULL, LOG_ID_CONFIG, "%s; the old configuration stays",
                         *ret_error);
                problems_report(manager->problems, MANAGER_PROBLEM_CONFIG,
                                "Failed to read the configuration: %s; what was in force before "
                                "stays so until the next reload",
                                *ret_error);
                return r;
        }
        r = apply_config(manager, g_steal_pointer(&config));
        if (r < 0) {
                *ret_error = manager_describe_failure(manager, r);
                return r;
        }
        problems_resolve(manager->problems, MANAGER_PROBLEM_CONFIG);
        manager_show_release(manager);
        tell_enforcement(manager, enforced);
        log_info("the configuration was read again");
        return 0;
}

/* The locks that were forgotten, in case that they have to be remembered again. */
typedef struct Release {
        Manager *manager;
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

        release->manager->released = release->before;
        for (guint i = 0; i < release->changes->len; i++)
                undo_lock_change(release->changes->pdata[i]);
}

static void forget_locks(Manager *manager, GPtrArray *changes) {
        Function *function;

        inventory_foreach (manager->inventory, function) {
                LockChange *change;

                if (!function->lock_why)
                        continue;
                change = g_new(LockChange, 1);
                *change = (LockChange){ manager, function, g_strdup(function->lock_why) };
                g_ptr_array_add(changes, change);
                set_lock_why(manager, function, NULL);
        }
}

int manager_release_all(Manager *manager, GPtrArray **ret) {
        g_autoptr(GPtrArray) changes = g_ptr_array_new_with_free_func(lock_change_free);
        g_autoptr(GPtrArray) paths = NULL;
        Release release = { manager, changes, manager->released };
        bool enforced = manager_enforces(manager);
        Function *function;
        int r;

        manager_apply(manager); /* what else there is to do is not this request's */
        paths = protected_files_list(manager->closed);
        manager->released = true;
        manager->state_dirty = true;
        forget_locks(manager, changes);
        manager_queue_all(manager);
        r = manager_apply_request(manager, undo_release, &release);
        if (r < 0)
                return r;
        inventory_foreach (manager->inventory, function)
                protected_files_open_strays(manager->closed, function, paths);
        tell_enforcement(manager, enforced);
        manager_show_release(manager);
        log_notice("%u files were opened again; nothing is enforced until a reload or restart",
                   paths->len);
        *ret = g_steal_pointer(&paths);
        return 0;
}

void manager_end_release(Manager *manager) {
        if (!manager->released)
                return;
        manager->released = false;
        manager->state_dirty = true;
        (void) manager_save_state(manager);
}
