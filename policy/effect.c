#include "policy/effect.h"

/* clang-format off */
#define DOES(operation) (1U << OPERATION_##operation)

/* A removed function is unbound first, and what it shared with its VFs is switched off with it. */
#define TAKES_AWAY (DOES(REMOVE) | DOES(UNBIND) | DOES(DISABLE_PASID) | DOES(SET_NUM_VFS))
/* A driver that is unbound from a PF may take the VFs along, and some do. */
#define LETS_GO    (DOES(UNBIND) | DOES(DISABLE_PASID) | DOES(SET_NUM_VFS))
/* What is below feels it as this operation. */
#define BELOW(operation) .below = true, .to_below = OPERATION_##operation

static const struct {
        Effect effect;
        unsigned own; /* what it does to the function itself, see effect_on_function() */
        unsigned vfs; /* and to each VF */
} effects[_OPERATION_MAX] = {
        [OPERATION_SET_NUM_VFS]   = { { .vfs = true },
                                      DOES(SET_NUM_VFS), DOES(UNBIND) | DOES(REMOVE) },
        [OPERATION_SET_AUTOPROBE] = { { .vfs = true },
                                      DOES(SET_AUTOPROBE), 0 },
        [OPERATION_BIND]          = { { .self = true, .vfs = true, .group = true, .pasid = true,
                                        BELOW(REMOVE) },
                                      DOES(BIND) | LETS_GO, DOES(UNBIND) | DOES(REMOVE) },
        /* vmd takes a whole domain along (vmd_remove()), pcieport the slots below it. */
        [OPERATION_UNBIND]        = { { .self = true, .vfs = true, .group = true, .pasid = true,
                                        BELOW(REMOVE) },
                                      LETS_GO, DOES(UNBIND) | DOES(REMOVE) },
        [OPERATION_RESET]         = { { .self = true, .vfs = true, .pasid = true, BELOW(RESET) },
                                      DOES(RESET) | DOES(DISABLE_PASID), DOES(RESET) },
        [OPERATION_REMOVE]        = { { .self = true, .vfs = true, .pasid = true, BELOW(REMOVE) },
                                      TAKES_AWAY, DOES(UNBIND) | DOES(REMOVE) },
        /* The slot of a VF is its PF's. */
        [OPERATION_POWER_OFF]     = { { .self = true, .vfs = true, .pasid = true, .slot = true,
                                        BELOW(POWER_OFF) },
                                      DOES(POWER_OFF) | TAKES_AWAY,
                                      DOES(POWER_OFF) | DOES(UNBIND) | DOES(REMOVE) },
        /* VFs have no PASID capability but their PF's. */
        [OPERATION_DISABLE_PASID] = { { .pasid = true },
                                      DOES(DISABLE_PASID), 0 },
        [OPERATION_OPEN]          = { { 0 }, DOES(OPEN), 0 }, /* check_open() */
};
/* clang-format on */

const Effect *effect_of(Operation operation) {
        return &effects[operation].effect;
}

static bool pasid_is_on(const Function *function) {
        return function->facts.pasid.present && function->facts.pasid.enabled;
}

unsigned effect_on_function(const Function *function, Operation operation) {
        unsigned done = effects[operation].own;

        if (!pasid_is_on(function))
                done &= ~DOES(DISABLE_PASID);
        if (function_num_vfs(function) == 0)
                done &= ~DOES(SET_NUM_VFS);
        /* An inhibitor of "unbind" on a function without a driver does not mind a bind. A removal
         * is another thing: a driver is changed in two steps, and the function must not vanish
         * between them. */
        if (operation == OPERATION_BIND && function->facts.driver[0] == '\0')
                done &= ~DOES(UNBIND);
        return done | 1U << operation;
}

unsigned effect_on_vfs(const Function *pf, Operation operation) {
        unsigned done = effects[operation].vfs;

        if (effects[operation].effect.pasid && pasid_is_on(pf))
                done |= DOES(DISABLE_PASID);
        return done;
}

unsigned effect_on_below(const Function *below, Operation operation) {
        const Effect *effect = effect_of(operation);

        return effect->below ? effect_on_function(below, effect->to_below) : 0;
}

unsigned effect_inhibited(const Function *function) {
        unsigned operations = 0;

        for (guint i = 0; function->inhibitors && i < function->inhibitors->len; i++)
                operations |= ((const Inhibitor *) function->inhibitors->pdata[i])->operations;
        return operations;
}

bool effect_is_inhibited(const Function *function, Operation operation) {
        unsigned on_vfs = effect_on_vfs(function, operation);

        if (effect_inhibited(function) & effect_on_function(function, operation))
                return true;
        for (guint i = 0; function->vfs && i < function->vfs->len; i++)
                if (effect_inhibited(function->vfs->pdata[i]) & on_vfs)
                        return true;
        return false;
}
