#include "policy/vf-departure.h"

#include "policy/lock.h"

/* Elsewhere no operation on a VF takes the VF itself. */
static bool is_taken_by_us(const Function *vf) {
        return vf->facts.s390 && vf->operation;
}

static bool is_switchable(const Function *vf) {
        return vf->facts.s390 && !function_is_held(vf) &&
               !(vf->lock_files & 1U << LOCK_FILE_SLOT_POWER);
}

void vf_departure_note(Function *vf) {
        Function *pf = vf->pf;

        if (!pf)
                return;
        if (is_taken_by_us(vf))
                pf->n_vfs_taken++;
        else if (is_switchable(vf))
                pf->n_vfs_switched++;
}

static bool is_listed(const Function *pf, const Function *vf) {
        const GArray *links = pf->facts.virtfns;

        for (guint i = 0; links && i < links->len; i++)
                if (g_array_index(links, VirtfnLink, i).vf == vf->facts.key)
                        return true;
        return false;
}

/* VFs that are there still and have lost their links by us. */
static unsigned count_going(const Function *pf) {
        unsigned n = 0;

        for (guint i = 0; pf->vfs && i < pf->vfs->len; i++) {
                const Function *vf = pf->vfs->pdata[i];

                n += is_taken_by_us(vf) && !is_listed(pf, vf);
        }
        return n;
}

bool vf_departures_explain(Function *pf, uint16_t before, uint16_t now) {
        unsigned n_taken = pf->n_vfs_taken, n_switched = pf->n_vfs_switched, n_lost;

        pf->n_vfs_taken = pf->n_vfs_switched = 0;
        if (now >= before)
                return false;
        n_lost = before - now;
        if (n_lost > n_taken)
                n_taken += count_going(pf);
        /* Slots are switched one by one; a write to the PF's file takes all its VFs. */
        return n_lost <= n_taken || (n_lost == 1 && n_switched == 1);
}
