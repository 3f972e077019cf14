#include "daemon/manager/function-users.h"

#include "daemon/broker/leases.h"
#include "daemon/broker/sessions.h"
#include "daemon/broker/vf-tokens.h"
#include "daemon/manager/parts/parts.h"
#include "daemon/usage/users.h"
#include "daemon/uses/uses.h"
#include "policy/check.h"
#include "policy/topology.h"

#include <errno.h>

/* Who has a function is what was seen, as those put it who open functions for others. */
static GPtrArray *users_told(const PartContext *context, const Function *function) {
        GPtrArray *users = users_of(part_find(context, users_part), function->facts.key);

        if (vf_tokens_imposing(part_find(context, vf_tokens_part), function->facts.key))
                g_clear_pointer(&users, g_ptr_array_unref);
        users = sessions_users(part_find(context, sessions_part), function, users);
        return leases_users(part_find(context, leases_part), function, users);
}

/* Whose group was opened for somebody is used by who uses another member: see leases_users(). */
static void update_group(const PartContext *context, const Function *function) {
        const GPtrArray *group = inventory_group(context->inventory, function->facts.iommu_group);

        for (guint i = 0; group && i < group->len; i++) {
                Function *peer = group->pdata[i];

                if (peer == function || !peer->lease)
                        continue;
                inventory_set_users(context->inventory, peer, users_told(context, peer));
                context->host->queue(context->host_context, peer);
        }
}

void function_users_update(const PartContext *context, PciKey key) {
        const PartHost *host = context->host;
        Function *function = inventory_get(context->inventory, key);

        if (!function)
                return;
        inventory_set_users(context->inventory, function, users_told(context, function));
        update_group(context, function);
        host->queue(context->host_context, function);
        host->tell(context->host_context, function, PART_NEWS_USERS);
        if (function->pf) {
                host->queue(context->host_context, function->pf); /* `vf-in-use` */
                host->tell(context->host_context, function->pf, PART_NEWS_VF_USERS);
        }
}

/* --- before something is done */

typedef struct RefreshCall {
        const PartContext *context;
        PciKey key;
        uint64_t inode;
        FunctionUsersKnown *done;
        void *userdata;
} RefreshCall;

static void function_users_end_refresh(RefreshCall *refresh, int result) {
        g_autofree RefreshCall *call = refresh;
        const PartContext *context = call->context;
        Function *function = inventory_get_device(context->inventory, call->key, call->inode);

        context->host->apply_related(context->host_context, function);
        if (result == -ECANCELED)
                call->done(call->userdata, NULL, -ECANCELED, "the daemon ends; nothing was begun");
        else if (!function)
                call->done(call->userdata, NULL, -ENODEV, "the function has gone meanwhile");
        else if (result < 0)
                call->done(call->userdata, function, -EBUSY,
                           "its users are not known yet: the search through the processes of the "
                           "host has not ended; try again later");
        else
                call->done(call->userdata, function, 0, NULL);
}

static void on_refreshed(void *userdata, int result) {
        function_users_end_refresh(userdata, result);
}

static void refresh_users(RefreshCall *call, const Function *function) {
        const PartContext *context = call->context;
        g_autoptr(GPtrArray) related = check_related(context->inventory, function);
        g_autofree PciKey *keys = g_new(PciKey, related->len);

        for (guint i = 0; i < related->len; i++)
                keys[i] = ((const Function *) related->pdata[i])->facts.key;
        users_refresh(part_find(context, users_part), keys, related->len, on_refreshed, call);
}

/* What cannot be looked at is known to be unknown. The users are looked at last: a function is
 * opened more quickly than it is mounted. */
static void on_uses_refreshed(void *userdata, int result) {
        RefreshCall *call = userdata;
        const Function *function = inventory_get(call->context->inventory, call->key);

        if (result == -ECANCELED || !function)
                function_users_end_refresh(call, result);
        else
                refresh_users(call, function);
}

/* The driver of a bridge has no network interface and no disk. Of others rtnetlink is asked, too,
 * and may not answer for long: nobody waits for that who has none. */
static bool has_related_host_driver(const PartContext *context, const Function *function) {
        g_autoptr(GPtrArray) related = check_related(context->inventory, function);

        for (guint i = 0; i < related->len; i++)
                if (function_has_host_driver(related->pdata[i]) &&
                    !topology_is_bridge(related->pdata[i]))
                        return true;
        return false;
}

void function_users_refresh(const PartContext *context, const Function *function,
                            FunctionUsersKnown *done, void *userdata) {
        RefreshCall *call = g_new(RefreshCall, 1);

        *call = (RefreshCall){ context, function->facts.key, function->facts.inode, done,
                               userdata };
        refresh_users(call, function);
}

void function_uses_refresh(const PartContext *context, const Function *function,
                           FunctionUsersKnown *done, void *userdata) {
        RefreshCall *call = g_new(RefreshCall, 1);

        *call = (RefreshCall){ context, function->facts.key, function->facts.inode, done,
                               userdata };
        uses_refresh(part_find(context, uses_part), has_related_host_driver(context, function),
                     on_uses_refreshed, call);
}
