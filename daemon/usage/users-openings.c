/* What follows for functions from the openings of their nodes. */
#include "daemon/usage/users-state.h"
#include "daemon/usage/users.h"

static char *group_name(const VfioDevice *device) {
        return g_strdup_printf("%d", device->vfio.group);
}

static void doubt_device(const Users *users, const VfioDevice *device) {
        g_autofree char *group = group_name(device);

        vfio_openings_doubt(users->openings, group);
        if (device->vfio.group >= 0)
                vfio_openings_assume(users->openings, group);
        if (!device->node_name)
                return;
        vfio_openings_doubt(users->openings, device->node_name);
        vfio_openings_assume(users->openings, device->node_name);
}

void users_doubt_openings(Users *users) {
        GHashTableIter iter;
        const VfioDevice *device;

        g_hash_table_iter_init(&iter, users->functions);
        while (g_hash_table_iter_next(&iter, NULL, (gpointer *) &device))
                doubt_device(users, device);
}

void users_correct_openings(const Users *users, const VfioDevice *device, bool in_process,
                            GHashTable *explained) {
        g_autofree char *group = group_name(device);
        /* Perhaps for another function of the group. */
        bool has_group = g_hash_table_contains(explained, GINT_TO_POINTER(device->vfio.group));

        vfio_openings_looked(users->openings, group, in_process || has_group,
                             users_waiting(users, device, group));
        if (device->node_name)
                vfio_openings_looked(users->openings, device->node_name, in_process,
                                     users_waiting(users, device, device->node_name));
}

void users_forget_openings(const Users *users, const VfioDevice *device) {
        g_autofree char *group = group_name(device);

        vfio_openings_forget_gone(users->openings, group);
        if (device->node_name)
                vfio_openings_forget_gone(users->openings, device->node_name);
}

bool users_openings_are_doubtful(const Users *users, const VfioDevice *device) {
        g_autofree char *group = group_name(device);

        return vfio_openings_is_doubtful(users->openings, group) ||
               (device->node_name && vfio_openings_is_doubtful(users->openings, device->node_name));
}

GHashTable *users_explained_groups(const GPtrArray *functions, const GPtrArray *holders) {
        GHashTable *groups = g_hash_table_new(NULL, NULL);

        for (guint i = 0; i < holders->len; i++) {
                const GArray *held = ((const Holder *) holders->pdata[i])->has.groups;

                for (guint j = 0; j < held->len; j++)
                        g_hash_table_add(groups, GINT_TO_POINTER(g_array_index(held, int32_t, j)));
        }
        for (guint i = 0; i < functions->len; i++) {
                const VfioFunction *function = &((const VfioDevice *) functions->pdata[i])->vfio;

                if (function->open)
                        g_hash_table_add(groups, GINT_TO_POINTER(function->group));
        }
        return groups;
}

/* As long as its opener is yet to be looked at, it is that process's. What is in use stays so: the
 * opener may have been looked at, and have passed it on since. */
static bool users_openings_is_open(const Users *users, const VfioDevice *device, const char *name) {
        return (device->users || !g_hash_table_contains(users->opened, name)) &&
               vfio_openings_is_open(users->openings, name);
}

bool users_node_is_open(const Users *users, const VfioDevice *device, GHashTable *explained) {
        g_autofree char *group = group_name(device);

        if (device->node_name && users_openings_is_open(users, device, device->node_name))
                return true;
        return device->vfio.group >= 0 && !device->vfio.unbound &&
               users_openings_is_open(users, device, group) &&
               !g_hash_table_contains(explained, GINT_TO_POINTER(device->vfio.group));
}

/* --- over a restart */

/* An opening that is only assumed would be assumed again. */
static VfioRecorded record_of(const Users *users, const VfioDevice *device) {
        VfioRecorded record = { .in_process = device->finding == VFIO_FOUND_PROCESS };
        g_autofree char *group = group_name(device);

        if (device->finding == VFIO_FOUND_NOBODY)
                return (VfioRecorded){ 0 };
        record.node = device->node;
        record.own = device->node_name ? vfio_openings_of(users->openings, device->node_name) : 0;
        record.group = vfio_openings_of(users->openings, group);
        record.had = device->had;
        record.any = record.own > 0 || record.group > 0 || record.in_process || device->vfio.open;
        return record.any ? record : (VfioRecorded){ 0 };
}

bool users_note_record(const Users *users, VfioDevice *device) {
        VfioRecorded before = device->recorded, now = record_of(users, device);

        device->recorded = now;
        return now.any != before.any || now.in_process != before.in_process ||
               now.node != before.node || now.own != before.own || now.group != before.group ||
               now.had.root != before.had.root || now.had.others != before.had.others;
}

void users_record(const Users *users, GArray *records) {
        GHashTableIter iter;
        const VfioDevice *device;

        g_hash_table_iter_init(&iter, users->functions);
        while (g_hash_table_iter_next(&iter, NULL, (gpointer *) &device)) {
                const Function *function = inventory_get(users->inventory, device->vfio.key);
                VfioRecorded what = record_of(users, device);
                StateOpening record = {
                        .key = device->vfio.key,
                        .node = what.node,
                        .own = what.own,
                        .group = what.group,
                        .in_process = what.in_process,
                        .had = what.had,
                };

                if (!function || !what.any)
                        continue;
                record.inode = function->facts.inode;
                record.name = g_strdup(device->node_name ? device->node_name : "");
                g_array_append_val(records, record);
        }
}

static void users_openings_adopt(Users *users, const StateOpening *record, VfioDevice *device) {
        /* A process had it since before the first daemon. Whether that is so still is in doubt. */
        bool unseen = record->in_process && record->own == 0 && record->group == 0;
        g_autofree char *group = group_name(device);

        device->had = record->had;
        if (!device->node_name && record->name[0] != '\0') {
                device->node = record->node;
                device->node_name = g_strdup(record->name);
        }
        if (g_strcmp0(device->node_name, record->name) == 0)
                vfio_openings_adopt(users->openings, record->name, unseen ? 1 : record->own);
        if (device->vfio.group >= 0)
                vfio_openings_adopt(users->openings, group, unseen ? 1 : record->group);
}

void users_adopt(Users *users, const GArray *records) {
        for (guint i = 0; i < records->len; i++) {
                const StateOpening *record = &g_array_index(records, StateOpening, i);
                const Function *function = inventory_get(users->inventory, record->key);
                VfioDevice *device = g_hash_table_lookup(users->functions, &record->key);

                if (!function || function->facts.inode != record->inode)
                        continue;
                /* Its driver is being unbound, and waits for a user. */
                if (!device && function->facts.driver[0] == '\0') {
                        device = vfio_device_new(record->key);
                        device->vfio.group = function->facts.iommu_group;
                        device->is_old = device->adopted = true;
                        device->vfio.unbound = true;
                        g_hash_table_insert(users->functions, &device->vfio.key, device);
                }
                if (device)
                        users_openings_adopt(users, record, device);
        }
}
