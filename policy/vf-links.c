#include "policy/vf-links.h"

#include "policy/topology.h"

#include <string.h>

static void vf_set_pf(Function *vf, Function *pf, uint32_t index) {
        if (vf->pf != pf) {
                const Function *owner = topology_slot_owner(vf);

                vf->pf = pf;
                property_set_add(&vf->changes, FUNCTION_PROPERTY_PHYSICAL_FUNCTION);
                /* A VF is in the slot of its PF, which may be known before the two are linked. */
                if (topology_slot_owner(vf) != owner)
                        property_set_add(&vf->changes, FUNCTION_PROPERTY_SLOT);
        }
        /* A dying VF's link goes first; it keeps the number it had. A detached one has none. */
        if (index != VF_INDEX_UNKNOWN && vf->index != index) {
                vf->index = index;
                property_set_add(&vf->changes, FUNCTION_PROPERTY_INDEX);
        }
}

void vf_links_detach(Function *vf) {
        vf_set_pf(vf, NULL, VF_INDEX_UNKNOWN);
        if (vf->index != VF_INDEX_UNKNOWN) {
                vf->index = VF_INDEX_UNKNOWN;
                property_set_add(&vf->changes, FUNCTION_PROPERTY_INDEX);
        }
}

static int compare_vf_indices(gconstpointer a, gconstpointer b) {
        uint32_t x = (*(Function *const *) a)->index, y = (*(Function *const *) b)->index;

        return (x > y) - (x < y);
}

/* Adds those of `before` to `vfs` whose links have gone. The kernel takes a VF's links away before
 * it waits for the VF's user (pci_iov_remove_virtfn()), so such a VF depends on its PF
 * until it is gone itself. */
static GPtrArray *keep_dying(const Function *pf, const GPtrArray *before, GPtrArray *vfs) {
        g_autoptr(GHashTable) listed = g_hash_table_new(NULL, NULL);
        guint n = vfs ? vfs->len : 0;

        for (guint i = 0; i < n; i++)
                g_hash_table_add(listed, vfs->pdata[i]);
        for (guint i = 0; i < before->len; i++) {
                Function *vf = before->pdata[i];

                if (vf->kind != FUNCTION_KIND_VF || vf->pf != pf ||
                    g_hash_table_contains(listed, vf))
                        continue;
                if (!vfs)
                        vfs = g_ptr_array_new();
                g_ptr_array_add(vfs, vf);
        }
        if (vfs && vfs->len > n)
                g_ptr_array_sort(vfs, compare_vf_indices);
        return vfs;
}

void vf_links_update_pf(GHashTable *functions, Function *pf) {
        const GArray *links = pf->facts.virtfns;
        const GPtrArray *known = pf->vfs;
        g_autoptr(GPtrArray) vfs = NULL;
        guint before = known ? known->len : 0;

        for (guint i = 0; links && i < links->len; i++) {
                const VirtfnLink *link = &g_array_index(links, VirtfnLink, i);
                Function *vf = g_hash_table_lookup(functions, &link->vf);

                /* One that does not show its own link yet shows it at its next reading. */
                if (!vf || vf == pf || vf->kind != FUNCTION_KIND_VF)
                        continue;
                if (!vfs)
                        vfs = g_ptr_array_sized_new(links->len);
                g_ptr_array_add(vfs, vf);
                vf_set_pf(vf, pf, link->index);
        }

        if (known)
                vfs = keep_dying(pf, known, g_steal_pointer(&vfs));
        guint after = vfs ? vfs->len : 0;
        if (before != after ||
            (after > 0 && memcmp(known->pdata, vfs->pdata, after * sizeof(gpointer)) != 0))
                property_set_add(&pf->changes, FUNCTION_PROPERTY_VIRTUAL_FUNCTIONS);

        g_clear_pointer(&pf->vfs, g_ptr_array_unref);
        pf->vfs = g_steal_pointer(&vfs);
}

static const VirtfnLink *find_link(const Function *pf, const Function *vf) {
        const GArray *links = pf->facts.virtfns;

        for (guint i = 0; links && i < links->len; i++) {
                const VirtfnLink *link = &g_array_index(links, VirtfnLink, i);

                if (link->vf == vf->facts.key)
                        return link;
        }
        return NULL;
}

void vf_links_add(Function *pf, Function *vf, uint32_t index) {
        guint place;

        vf_set_pf(vf, pf, index);
        if (!pf->vfs)
                pf->vfs = g_ptr_array_new();
        if (g_ptr_array_find(pf->vfs, vf, NULL))
                return;
        for (place = pf->vfs->len; place > 0; place--)
                if (compare_vf_indices(&pf->vfs->pdata[place - 1], &(gpointer){ vf }) <= 0)
                        break;
        g_ptr_array_insert(pf->vfs, (gint) place, vf);
        property_set_add(&pf->changes, FUNCTION_PROPERTY_VIRTUAL_FUNCTIONS);
}

void vf_links_update_vf(GHashTable *functions, Function *vf) {
        Function *pf = g_hash_table_lookup(functions, &vf->facts.physfn);

        if (!pf || pf == vf)
                return;
        vf_set_pf(vf, pf, VF_INDEX_UNKNOWN);
        if (vf->index == VF_INDEX_UNKNOWN) {
                const VirtfnLink *link = find_link(pf, vf);

                if (link)
                        vf_links_add(pf, vf, link->index);
        }
}
