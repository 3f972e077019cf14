#include "policy/inventory.h"

#include "policy/topology.h"
#include "policy/vf-links.h"

#include <string.h>

struct Inventory {
        GHashTable *functions; /* PciKey in the function's facts -> Function* */
        GHashTable *groups;    /* IOMMU group -> GPtrArray of borrowed Function* */
        Topology *topology;
        UsesKnown uses_known;
        char *uses_text; /* what cannot be looked at, NULL: nothing */
};

static void msi_free(Function *function) {
        if (function->msi)
                msi_evidence_clear(function->msi);
        g_clear_pointer(&function->msi, g_free);
}

static void function_free(gpointer data) {
        Function *function = data;

        function_facts_clear(&function->facts);
        g_clear_pointer(&function->vfs, g_ptr_array_unref);
        g_clear_pointer(&function->users, g_ptr_array_unref);
        g_clear_pointer(&function->uses, g_ptr_array_unref);
        device_names_free(function->names);
        g_clear_pointer(&function->inhibitors, g_ptr_array_unref);
        msi_free(function);
        g_free(function->lock_why);
        g_free(function->unplug_asked);
        g_free(function->below);
        g_clear_pointer(&function->last_driver, g_ref_string_release);
        g_free(function);
}

Inventory *inventory_new(void) {
        Inventory *inventory = g_new0(Inventory, 1);

        inventory->functions =
                g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, function_free);
        inventory->groups =
                g_hash_table_new_full(NULL, NULL, NULL, (GDestroyNotify) g_ptr_array_unref);
        inventory->topology = topology_new();
        return inventory;
}

void inventory_free(Inventory *inventory) {
        if (!inventory)
                return;
        g_hash_table_unref(inventory->groups);
        g_hash_table_unref(inventory->functions);
        topology_free(inventory->topology);
        g_free(inventory->uses_text);
        g_free(inventory);
}

unsigned inventory_count(const Inventory *inventory) {
        return g_hash_table_size(inventory->functions);
}

Function *inventory_get(const Inventory *inventory, PciKey key) {
        return g_hash_table_lookup(inventory->functions, &key);
}

Function *inventory_get_device(const Inventory *inventory, PciKey key, uint64_t inode) {
        Function *function = inventory_get(inventory, key);

        return function && function->facts.inode == inode ? function : NULL;
}

void inventory_iter_init(const Inventory *inventory, GHashTableIter *iter) {
        g_hash_table_iter_init(iter, inventory->functions);
}

static bool virtfns_equal(const GArray *a, const GArray *b) {
        guint n = a ? a->len : 0;

        if (n != (b ? b->len : 0))
                return false;
        for (guint i = 0; i < n; i++) {
                const VirtfnLink *x = &g_array_index(a, VirtfnLink, i);
                const VirtfnLink *y = &g_array_index(b, VirtfnLink, i);

                if (x->vf != y->vf || x->index != y->index)
                        return false;
        }
        return true;
}

/* Adds the properties in which the facts of one device differ. The identity of the device (vendor,
 * class, ...) cannot differ. */
static void facts_compare(const FunctionFacts *a, const FunctionFacts *b, PropertySet *changes) {
        if (a->driver != b->driver)
                property_set_add(changes, FUNCTION_PROPERTY_DRIVER);
        if (a->driver_override != b->driver_override)
                property_set_add(changes, FUNCTION_PROPERTY_DRIVER_OVERRIDE);
        if (a->iommu_group != b->iommu_group)
                property_set_add(changes, FUNCTION_PROPERTY_IOMMU_GROUP);
        if (a->numa_node != b->numa_node)
                property_set_add(changes, FUNCTION_PROPERTY_NUMA_NODE);
        if (a->total_vfs != b->total_vfs)
                property_set_add(changes, FUNCTION_PROPERTY_TOTAL_VFS);
        if (a->drivers_autoprobe != b->drivers_autoprobe)
                property_set_add(changes, FUNCTION_PROPERTY_DRIVERS_AUTOPROBE);
}

static void group_leave(Inventory *inventory, Function *function) {
        gpointer group = GINT_TO_POINTER(function->facts.iommu_group);
        GPtrArray *members = g_hash_table_lookup(inventory->groups, group);

        if (members && g_ptr_array_remove_fast(members, function) && members->len == 0)
                g_hash_table_remove(inventory->groups, group);
}

static void group_join(Inventory *inventory, Function *function) {
        gpointer group = GINT_TO_POINTER(function->facts.iommu_group);
        GPtrArray *members = g_hash_table_lookup(inventory->groups, group);

        if (function->facts.iommu_group < 0)
                return;
        if (!members) {
                members = g_ptr_array_new();
                g_hash_table_insert(inventory->groups, group, members);
        }
        g_ptr_array_add(members, function);
}

const GPtrArray *inventory_group(const Inventory *inventory, int32_t group) {
        return group < 0 ? NULL : g_hash_table_lookup(inventory->groups, GINT_TO_POINTER(group));
}

void inventory_set_users(Inventory *inventory, Function *function, GPtrArray *users) {
        bool before = function_in_use(function);

        g_clear_pointer(&function->users, g_ptr_array_unref);
        function->users = users;
        topology_update(function);
        if (function_in_use(function) == before)
                return;
        property_set_add(&function->changes, FUNCTION_PROPERTY_IN_USE);
        if (function->pf && function->pf->facts.pasid.enabled)
                property_set_add(&function->pf->changes, FUNCTION_PROPERTY_PASID_DEPENDENTS);
}

void inventory_set_uses(Function *function, GPtrArray *uses) {
        g_clear_pointer(&function->uses, g_ptr_array_unref);
        function->uses = uses;
        topology_update(function);
}

void inventory_set_names(Function *function, DeviceNames *names) {
        static const FunctionProperty properties[_DEVICE_NAME_KIND_MAX] = {
                [DEVICE_NAME_INTERFACE] = FUNCTION_PROPERTY_INTERFACES,
                [DEVICE_NAME_BLOCK] = FUNCTION_PROPERTY_BLOCK_DEVICES,
        };

        for (DeviceNameKind kind = 0; kind < _DEVICE_NAME_KIND_MAX; kind++)
                if (!device_names_equal_kind(function->names, names, kind))
                        property_set_add(&function->changes, properties[kind]);
        device_names_free(function->names);
        function->names = names;
}

void inventory_set_uses_known(Inventory *inventory, UsesKnown known, const char *text) {
        inventory->uses_known = known;
        g_free(inventory->uses_text);
        inventory->uses_text = g_strdup(text);
}

UsesKnown inventory_uses_known(const Inventory *inventory, const char **ret_text) {
        *ret_text = inventory->uses_text;
        return inventory->uses_known;
}

void inventory_set_pasid(Inventory *inventory, Function *function, const Pasid *pasid) {
        bool before = function->facts.pasid.present, enabled = function->facts.pasid.enabled;

        function->facts.pasid = *pasid;
        topology_update(function); /* what is inhibited of it */
        if (before == pasid->present && enabled == pasid->enabled)
                return;

        /* A change of the PF is a change of its VFs, too. */
        property_set_add(&function->changes, FUNCTION_PROPERTY_PASID_ENABLED);
        for (guint i = 0; function->vfs && i < function->vfs->len; i++) {
                Function *vf = function->vfs->pdata[i];

                property_set_add(&vf->changes, FUNCTION_PROPERTY_PASID_ENABLED);
                if (function_in_use(vf) && enabled != pasid->enabled)
                        property_set_add(&function->changes, FUNCTION_PROPERTY_PASID_DEPENDENTS);
        }
}

void inventory_set_msix(Function *function, const Msix *msix) {
        if (msix_equal(&function->facts.msix, msix))
                return;
        function->facts.msix = *msix;
        property_set_add(&function->changes, FUNCTION_PROPERTY_MSIX_VECTORS);
        if (!msix->present)
                msi_free(function);
}

void inventory_set_pcie(Function *function, const Pcie *pcie) {
        const Pcie *before = &function->pcie;

        if (before->link_speed != pcie->link_speed)
                property_set_add(&function->changes, FUNCTION_PROPERTY_LINK_SPEED);
        if (before->link_width != pcie->link_width)
                property_set_add(&function->changes, FUNCTION_PROPERTY_LINK_WIDTH);
        if (before->has_serial != pcie->has_serial || before->serial != pcie->serial)
                property_set_add(&function->changes, FUNCTION_PROPERTY_SERIAL);
        function->pcie = *pcie;
}

void inventory_set_msi(Function *function, MsiEvidence *evidence) {
        MsiGround before, now = msi_ground(evidence);

        if (!function->msi) {
                function->msi = g_new0(MsiEvidence, 1);
                property_set_add(&function->changes, FUNCTION_PROPERTY_MSIX_ISOLATION);
        } else if (msi_evidence_equal(function->msi, evidence)) {
                msi_evidence_clear(evidence);
                return;
        }
        before = msi_ground(function->msi);
        property_set_add(&function->changes, FUNCTION_PROPERTY_MSIX_EVIDENCE);
        if (before != now)
                property_set_add(&function->changes, FUNCTION_PROPERTY_MSIX_REASON);
        if (msi_ground_isolation(before) != msi_ground_isolation(now)) {
                property_set_add(&function->changes, FUNCTION_PROPERTY_MSIX_ISOLATION);
                property_set_add(&function->changes, FUNCTION_PROPERTY_MSIX_TABLE_MAPPABLE);
        }
        msi_evidence_clear(function->msi);
        *function->msi = *evidence;
        *evidence = (MsiEvidence){ 0 };
}

/* VFIO's device below a function comes after the driver's link, and goes before it. */
static void note_driver(Function *function) {
        GRefString *driver = function->facts.driver;
        bool is_new = driver != function->last_driver;

        if (driver[0] == '\0')
                return;
        function->was_native =
                (is_new || function->was_native) && !function_has_vfio_driver(function);
        if (!is_new)
                return;
        g_ref_string_release(function->last_driver);
        function->last_driver = g_ref_string_acquire(driver);
}

/* A VF is one until it is gone. On s390 it may outlive its PF, which another system has then. */
static FunctionKind kind_before(const Function *function, const FunctionFacts *facts) {
        return function->kind == FUNCTION_KIND_VF && facts->s390_vfn != 0 && !function->pf
                       ? _FUNCTION_KIND_INVALID
                       : function->kind;
}

/* Whether the PF's links to VFs become others. */
static bool note_virtfns(Function *pf, const GArray *virtfns) {
        const GArray *before = pf->facts.virtfns;

        if ((before ? before->len : 0) != (virtfns ? virtfns->len : 0))
                property_set_add(&pf->changes, FUNCTION_PROPERTY_NUM_VFS);
        return !virtfns_equal(before, virtfns);
}

Function *inventory_apply(Inventory *inventory, FunctionFacts *facts) {
        Function *function = inventory_get(inventory, facts->key);
        bool relink = true;

        if (!function) {
                function = g_new0(Function, 1);
                function->index = VF_INDEX_UNKNOWN;
                function->last_driver = g_ref_string_new_intern("");
                function->facts = *facts;
                function->kind = function_kind(facts, _FUNCTION_KIND_INVALID);
                g_hash_table_insert(inventory->functions, &function->facts.key, function);
                group_join(inventory, function);
                topology_add(inventory->topology, function,
                             facts->has_parent ? inventory_get(inventory, facts->parent) : NULL);
        } else {
                FunctionKind kind = function_kind(facts, kind_before(function, facts));

                facts_compare(&function->facts, facts, &function->changes);
                if (kind != function->kind) {
                        property_set_add(&function->changes, FUNCTION_PROPERTY_KIND);
                        if (function_kind_memory_hardwired_zero(kind) !=
                            function_kind_memory_hardwired_zero(function->kind))
                                property_set_add(&function->changes,
                                                 FUNCTION_PROPERTY_COMMAND_MEMORY);
                }
                if (!note_virtfns(function, facts->virtfns))
                        relink = function->kind != FUNCTION_KIND_PF || kind != function->kind;
                facts->pasid = function->facts.pasid; /* see inventory_set_pasid() */
                facts->msix = function->facts.msix;
                if (!facts->has_physfn) /* of a dying VF: see function_kind() */
                        facts->physfn = function->facts.physfn;

                group_leave(inventory, function);
                function_facts_clear(&function->facts);
                function->facts = *facts;
                function->kind = kind;
                group_join(inventory, function);
                topology_update(function);
        }
        *facts = (FunctionFacts){ 0 };
        note_driver(function);

        if (function->kind == FUNCTION_KIND_PF && relink)
                vf_links_update_pf(inventory->functions, function);
        if (function->kind == FUNCTION_KIND_VF)
                vf_links_update_vf(inventory->functions, function);
        if (function->kind == FUNCTION_KIND_DETACHED_VF)
                vf_links_detach(function);
        return function;
}

void inventory_restore_vf(Inventory *inventory, Function *vf, PciKey physfn, uint32_t index) {
        Function *pf = inventory_get(inventory, physfn);

        if (vf->facts.has_physfn || vf->pf)
                return;
        if (vf->kind != FUNCTION_KIND_VF) {
                vf->kind = FUNCTION_KIND_VF;
                property_set_add(&vf->changes, FUNCTION_PROPERTY_KIND);
                property_set_add(&vf->changes, FUNCTION_PROPERTY_COMMAND_MEMORY);
        }
        vf->facts.physfn = physfn;
        if (!pf || pf == vf || pf->kind != FUNCTION_KIND_PF)
                return;
        vf_links_add(pf, vf, index);
}

void inventory_set_virtfns(Inventory *inventory, Function *pf, GArray *virtfns) {
        bool changed = note_virtfns(pf, virtfns);

        g_clear_pointer(&pf->facts.virtfns, g_array_unref);
        pf->facts.virtfns = virtfns;
        pf->facts.n_virtfn_links = (uint16_t) (virtfns ? virtfns->len : 0);
        if (changed)
                vf_links_update_pf(inventory->functions, pf);
}

void inventory_set_driver_override(Function *function, const char *value) {
        GRefString *override = g_ref_string_new_intern(value);

        if (override != function->facts.driver_override)
                property_set_add(&function->changes, FUNCTION_PROPERTY_DRIVER_OVERRIDE);
        g_ref_string_release(function->facts.driver_override);
        function->facts.driver_override = override;
}

void inventory_remove(Inventory *inventory, Function *function) {
        Function *pf = function->pf, *other;

        /* Of all functions: a VF points to its PF already before the PF's link names the VF. */
        if (function->kind == FUNCTION_KIND_PF)
                inventory_foreach (inventory, other)
                        if (other->pf == function)
                                vf_links_detach(other);
        if (pf && pf->vfs && g_ptr_array_remove(pf->vfs, function))
                property_set_add(&pf->changes, FUNCTION_PROPERTY_VIRTUAL_FUNCTIONS);
        if (pf && function_depends_on_pasid(function))
                property_set_add(&pf->changes, FUNCTION_PROPERTY_PASID_DEPENDENTS);

        group_leave(inventory, function);
        topology_remove(inventory->topology, function);
        g_hash_table_remove(inventory->functions, &function->facts.key);
}

GPtrArray *inventory_sorted(const Inventory *inventory) {
        GPtrArray *sorted = g_ptr_array_sized_new(inventory_count(inventory));
        Function *function;

        inventory_foreach (inventory, function)
                g_ptr_array_add(sorted, function);
        g_ptr_array_sort(sorted, function_compare);
        return sorted;
}
