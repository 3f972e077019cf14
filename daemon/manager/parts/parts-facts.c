/* The parts that read facts: what they find goes into the inventory, and to the parts that need it.
 */
#include "daemon/broker/leases.h"
#include "daemon/broker/vf-tokens.h"
#include "daemon/guard/kernel-guard.h"
#include "daemon/guard/operations.h"
#include "daemon/guard/unplug.h"
#include "daemon/manager/parts/parts.h"
#include "daemon/sysfs/config-space.h"
#include "daemon/sysfs/msi-source.h"
#include "daemon/usage/external-removals.h"
#include "daemon/usage/users.h"
#include "daemon/usage/vfio-openings.h"
#include "daemon/uses/uses.h"

#include <errno.h>

/* --- descriptors of the daemon */

static int new_descriptors(const PartContext *context, void **ret) {
        *ret = (void *) context;
        return 0;
}

static PartCheck descriptors_want_check(const void *self) {
        const PartContext *context = self;

        return reserve_is_reported(context->problems) ? PART_CHECK_SOON : PART_CHECK_NEVER;
}

static void check_descriptors(void *self) {
        const PartContext *context = self;

        reserve_check(context->reserve, context->problems);
}

const Part descriptors_part = {
        .name = "descriptors",
        .new = new_descriptors,
        .wants_check = descriptors_want_check,
        .check = check_descriptors,
};

/* --- users */

static void on_users_changed(void *userdata, PciKey key) {
        const PartContext *context = userdata;

        context->host->users_changed(context->host_context, key);
}

static void on_users_record_changed(void *userdata) {
        const PartContext *context = userdata;

        context->host->record_changed(context->host_context);
}

/* The node may be of a function whose last events were not handled yet. */
static void on_node_opened(void *userdata) {
        const PartContext *context = userdata;

        context->host->hurry(context->host_context);
}

static void on_node_closed(void *userdata, const char *name) {
        const PartContext *context = userdata;

        leases_node_closed(part_find(context, leases_part), name);
        vf_tokens_node_closed(part_find(context, vf_tokens_part), name);
}

static void on_closes_missed(void *userdata) {
        const PartContext *context = userdata;

        leases_closes_missed(part_find(context, leases_part));
        vf_tokens_closes_missed(part_find(context, vf_tokens_part));
}

static void on_users_looked(void *userdata, uint64_t walk) {
        const PartContext *context = userdata;
        Unplugs *unplugs = part_find(context, unplugs_part);

        leases_looked(part_find(context, leases_part), walk);
        if (unplugs)
                unplugs_retry(unplugs, true);
        /* Until the first search has ended, all functions count as used: it may unlock them all. */
        if (walk == 1)
                context->host->queued_later(context->host_context);
}

static void on_unlookable(void *userdata, pid_t pid) {
        const PartContext *context = userdata;

        if (pid == 0)
                problems_resolve(context->problems, "users");
        else
                problems_report(context->problems, "users",
                                "Failed to look at process %d: what it has open is not known", pid);
}

static const UsersHandler users_handler = {
        .changed = on_users_changed,
        .record_changed = on_users_record_changed,
        .opened = on_node_opened,
        .closed = on_node_closed,
        .missed = on_closes_missed,
        .looked = on_users_looked,
        .unlookable = on_unlookable,
};

static int new_users(const PartContext *context, void **ret) {
        Users *users = NULL;
        int r = users_new(context->event, context->inventory, &users_handler, (void *) context,
                          &users);

        *ret = users;
        return r;
}

static void adopt_users(void *self, const GArray *records) {
        users_adopt(self, records);
}

static void record_users(void *self, GArray *records) {
        users_record(self, records);
}

static int users_hear(void *self, Function *function, unsigned news) {
        return users_function_changed(self, function);
}

static void users_hear_of_end(void *self, Function *function) {
        users_function_gone(self, function->facts.key);
}

static void end_user_calls(void *self, const char *why) {
        users_end_refreshes(self);
}

static void free_users(void *self) {
        (void) users_free(self);
}

const Part users_part = {
        .name = "users",
        .section = &openings_section,
        .new = new_users,
        .adopt_known = adopt_users,
        .record = record_users,
        .hears = PART_NEWS_READ,
        .reads = "vfio-dev and enable",
        .function_changed = users_hear,
        .function_gone = users_hear_of_end,
        .end_calls = end_user_calls,
        .free = free_users,
};

/* --- uses of the host */

static void take_host_uses(const Uses *uses, Function *function) {
        inventory_set_uses(function, uses_of(uses, function->facts.key));
        inventory_set_names(function, uses_names_of(uses, function->facts.key));
}

static void on_uses_changed(void *userdata, PciKey key) {
        const PartContext *context = userdata;
        Function *function = inventory_get(context->inventory, key);

        if (!function)
                return;
        take_host_uses(part_find(context, uses_part), function);
        context->host->queue(context->host_context, function);
        parts_tell_blockers(context, function);
}

static void on_uses_known(void *userdata, UsesKnown known, const char *text) {
        const PartContext *context = userdata;
        Unplugs *unplugs = part_find(context, unplugs_part);

        inventory_set_uses_known(context->inventory, known, text);
        if (unplugs) /* else this is the daemon's start */
                unplugs_blockers_changed(unplugs);
}

static const UsesHandler uses_handler = {
        .changed = on_uses_changed,
        .known = on_uses_known,
};

static int new_uses(const PartContext *context, void **ret) {
        Uses *uses = NULL;
        int r = uses_new(context->event, context->problems, context->proc, &uses_handler,
                         (void *) context, &uses);

        *ret = uses;
        return r;
}

/* A source may have reported it before the function was read. Later changes are events of the
 * kernel's own: an interface or a disk of it comes or goes. */
static void attach_uses(void *self, Function *function) {
        take_host_uses(self, function);
}

static void end_uses_calls(void *self, const char *why) {
        uses_end_refreshes(self);
}

static void free_uses(void *self) {
        (void) uses_free(self);
}

const Part uses_part = {
        .name = "uses",
        .new = new_uses,
        .attach = attach_uses,
        .end_calls = end_uses_calls,
        .free = free_uses,
};

/* --- MSIs */

static void on_msi_changed(void *userdata, PciKey key) {
        const PartContext *context = userdata;
        Function *function = inventory_get(context->inventory, key);
        g_auto(MsiEvidence) evidence = { 0 };

        if (!function || !function->facts.msix.present)
                return;
        msi_source_evidence(part_find(context, msi_source_part), key, &evidence);
        inventory_set_msi(function, &evidence);
        if (!property_set_is_empty(&function->changes))
                context->host->queue(context->host_context, function);
}

static int new_msi_source(const PartContext *context, void **ret) {
        MsiSource *source = NULL;
        int r = msi_source_new(context->event, context->watch, context->problems, on_msi_changed,
                               (void *) context, &source);

        *ret = source;
        return r;
}

static int msi_source_hears(void *self, Function *function, unsigned news) {
        msi_source_function_changed(self, function);
        return 0;
}

static void msi_source_hears_of_end(void *self, Function *function) {
        msi_source_function_gone(self, function->facts.key);
}

static void free_msi_source(void *self) {
        (void) msi_source_free(self);
}

const Part msi_source_part = {
        .name = "msi-source",
        .new = new_msi_source,
        .hears = PART_NEWS_READ | PART_NEWS_USERS,
        .function_changed = msi_source_hears,
        .function_gone = msi_source_hears_of_end,
        .free = free_msi_source,
};

/* --- configuration space */

static void on_pasid_found(void *userdata, PciKey key, const Pasid *pasid) {
        const PartContext *context = userdata;
        Function *function = inventory_get(context->inventory, key);

        if (!function)
                return;
        inventory_set_pasid(context->inventory, function, pasid);
        if (!property_set_is_empty(&function->changes))
                context->host->queue_related(context->host_context, function);
}

static void on_msix_found(void *userdata, PciKey key, const Msix *msix) {
        const PartContext *context = userdata;
        Function *function = inventory_get(context->inventory, key);

        if (!function)
                return;
        inventory_set_msix(function, msix);
        if (!property_set_is_empty(&function->changes))
                context->host->queue(context->host_context, function);
        on_msi_changed(userdata, key);
}

static void on_pcie_found(void *userdata, PciKey key, const Pcie *pcie) {
        const PartContext *context = userdata;
        Function *function = inventory_get(context->inventory, key);

        if (!function)
                return;
        inventory_set_pcie(function, pcie);
        if (!property_set_is_empty(&function->changes))
                context->host->queue(context->host_context, function);
}

static const ConfigSpaceHandler config_space_handler = {
        .pasid = on_pasid_found,
        .msix = on_msix_found,
        .pcie = on_pcie_found,
};

static int new_config_space(const PartContext *context, void **ret) {
        ConfigSpace *space = NULL;
        int r = config_space_new(context->event, context->problems, &config_space_handler,
                                 (void *) context, &space);

        *ret = space;
        return r;
}

static int config_space_hears(void *self, Function *function, unsigned news) {
        config_space_function_changed(self, function);
        return 0;
}

static void config_space_hears_of_end(void *self, Function *function) {
        config_space_function_gone(self, function->facts.key);
}

static void free_config_space(void *self) {
        (void) config_space_free(self);
}

const Part config_space_part = {
        .name = "config-space",
        .new = new_config_space,
        .hears = PART_NEWS_READ | PART_NEWS_USERS,
        .function_changed = config_space_hears,
        .function_gone = config_space_hears_of_end,
        .free = free_config_space,
};

/* --- external removals */

static void on_removals_refreshed(void *userdata, int result) {
        const PartContext *context = userdata;

        context->host->read_stale(context->host_context);
        context->host->apply(context->host_context);
        if (result != -ECANCELED)
                external_removals_refreshed(part_find(context, external_removals_part));
}

/* The kernel sends `unbind` only when all is done: what is known of a PF is of before. */
static void mark_suspect(const PartContext *context, PciKey key) {
        const Function *function = inventory_get(context->inventory, key);

        context->host->mark_stale(context->host_context, key);
        if (function && function->pf)
                context->host->mark_stale(context->host_context, function->pf->facts.key);
}

static void on_removal_refresh(void *userdata, const PciKey *keys, unsigned n_keys) {
        for (unsigned i = 0; i < n_keys; i++)
                mark_suspect(userdata, keys[i]);
        users_refresh(part_find((const PartContext *) userdata, users_part), keys, n_keys,
                      on_removals_refreshed, userdata);
}

static void on_removal_begun(void *userdata, Function *function) {
        unplugs_overtaken(part_find((const PartContext *) userdata, unplugs_part), function);
}

static bool is_own_process(void *userdata, uint32_t pid) {
        return operations_own(part_find((const PartContext *) userdata, operations_part), pid);
}

static void on_removal_changed(void *userdata, Function *function) {
        const PartContext *context = userdata;

        unplugs_function_changed(part_find(context, unplugs_part), function);
        context->host->queue(context->host_context, function);
}

/* An unplug of a function that is related to one of it waits for its end. */
static void on_removal_ended(void *userdata) {
        unplugs_retry(part_find((const PartContext *) userdata, unplugs_part), false);
}

static bool find_remover(void *userdata, PciKey key, ViolationAuthor *ret) {
        const PartContext *context = userdata;

        return kernel_guards_find_remover(part_find(context, kernel_guard_part), key, ret);
}

static const ExternalRemovalsHandler external_removals_handler = {
        .refresh = on_removal_refresh,
        .begun = on_removal_begun,
        .find_remover = find_remover,
        .is_own = is_own_process,
        .changed = on_removal_changed,
        .ended = on_removal_ended,
};

static int new_external_removals(const PartContext *context, void **ret) {
        ExternalRemovals *removals = NULL;
        int r = external_removals_new(context->event, context->inventory,
                                      &external_removals_handler, (void *) context, &removals);

        *ret = removals;
        return r;
}

static int external_removals_hear(void *self, Function *function, unsigned news) {
        external_removals_function_changed(self, function);
        return 0;
}

static void external_removals_hear_of_end(void *self, Function *function) {
        external_removals_function_gone(self);
}

static void free_external_removals(void *self) {
        (void) external_removals_free(self);
}

const Part external_removals_part = {
        .name = "external-removals",
        .new = new_external_removals,
        .hears = PART_NEWS_READ | PART_NEWS_USERS | PART_NEWS_VF_USERS | PART_NEWS_OPERATION,
        .function_changed = external_removals_hear,
        .function_gone = external_removals_hear_of_end,
        .free = free_external_removals,
};
