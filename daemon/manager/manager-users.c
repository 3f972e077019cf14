/* Who uses a function, as the users' source and those tell it who open functions for others; and
 * those who wait until that is known before something is done. */
#include "daemon/manager/manager-internal.h"

#include <errno.h>

/* Who has a function is what was seen, as those put it who open functions for others. */
static GPtrArray *users_told(const Manager *manager, const Function *function) {
        GPtrArray *users = users_of(manager->users, function->facts.key);

        if (vf_tokens_imposing(manager->vf_tokens, function->facts.key))
                g_clear_pointer(&users, g_ptr_array_unref);
        users = sessions_users(manager->sessions, function, users);
        return leases_users(manager->leases, function, users);
}

/* Whose group was opened for somebody is used by who uses another member: see leases_users(). */
static void tell_group(Manager *manager, const Function *function) {
        const GPtrArray *group = inventory_group(manager->inventory, function->facts.iommu_group);

        for (guint i = 0; group && i < group->len; i++) {
                Function *peer = group->pdata[i];

                if (peer == function || !peer->lease)
                        continue;
                inventory_set_users(manager->inventory, peer, users_told(manager, peer));
                manager_queue(manager, peer);
        }
}

void manager_on_users_changed(void *context, PciKey key) {
        Manager *manager = context;
        Function *function = inventory_get(manager->inventory, key);

        if (!function)
                return;
        inventory_set_users(manager->inventory, function, users_told(manager, function));
        manager->state_dirty = true; /* users_record() */
        tell_group(manager, function);
        if (function_in_use(function))
                vf_tokens_pf_used(manager->vf_tokens, function);
        config_space_function_changed(manager->config_space, function);
        msi_source_function_changed(manager->msi_source, function);
        manager_queue(manager, function);
        manager_tell_unplugs(manager, function);
        if (function->pf) {
                manager_queue(manager, function->pf); /* `vf-in-use` */
                manager_tell_unplugs(manager, function->pf);
        }
}

static void on_node_closed(void *context, const char *name) {
        const Manager *manager = context;

        leases_node_closed(manager->leases, name);
        vf_tokens_node_closed(manager->vf_tokens, name);
}

static void on_closes_missed(void *context) {
        const Manager *manager = context;

        leases_closes_missed(manager->leases);
        vf_tokens_closes_missed(manager->vf_tokens);
}

static void on_users_looked(void *context, uint64_t walk) {
        Manager *manager = context;

        leases_looked(manager->leases, walk);
        /* After the first walk nobody may be seen to be unknown whose files are closed still. */
        if (walk != 0)
                manager_apply(manager);
}

static void on_unlookable(void *context, pid_t pid) {
        const Manager *manager = context;

        if (pid == 0)
                problems_resolve(manager->problems, "users");
        else
                problems_report(manager->problems, "users",
                                "Failed to look at process %d: what it has open is not known", pid);
}

const UsersHandler manager_users_handler = {
        .changed = manager_on_users_changed,
        .closed = on_node_closed,
        .missed = on_closes_missed,
        .looked = on_users_looked,
        .unlookable = on_unlookable,
};

/* --- before something is done */

typedef struct RefreshCall {
        Manager *manager;
        PciKey key;
        uint64_t inode;
        ManagerRefreshed *done;
        void *context;
} RefreshCall;

static void on_refreshed(void *context, int result) {
        g_autofree RefreshCall *call = context;
        Manager *manager = call->manager;
        Function *function;

        manager_apply(manager);
        function = inventory_get(manager->inventory, call->key);
        if (result == -ECANCELED)
                call->done(call->context, NULL, -ECANCELED, "the daemon ends; nothing was begun");
        else if (!function || function->facts.inode != call->inode)
                call->done(call->context, NULL, -ENODEV, "the function has gone meanwhile");
        else if (result < 0)
                call->done(call->context, function, -EBUSY,
                           "its users are not known yet: the search through the processes of the "
                           "host has not ended; try again later");
        else
                call->done(call->context, function, 0, NULL);
}

void manager_refresh_users(Manager *manager, const Function *function, ManagerRefreshed *done,
                           void *context) {
        g_autoptr(GPtrArray) related = check_related(manager->inventory, function);
        g_autofree PciKey *keys = g_new(PciKey, related->len);
        RefreshCall *call = g_new(RefreshCall, 1);

        *call = (RefreshCall){ manager, function->facts.key, function->facts.inode, done, context };
        for (guint i = 0; i < related->len; i++)
                keys[i] = ((const Function *) related->pdata[i])->facts.key;
        users_refresh(manager->users, keys, related->len, on_refreshed, call);
}
