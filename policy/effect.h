/* effect.h: what an operation on a function does, to it and to others.
 *
 * Owns the one table of that. An operation may include others as steps: an inhibitor of one of
 * those blocks it, on the bus and by the files that perform it. */
#pragma once

#include "policy/operation.h"

typedef struct Effect {
        bool self;          /* disturbs who has the function itself open */
        bool vfs;           /* disturbs who has one of its VFs open */
        bool group;         /* changes what the IOMMU group's members rely on */
        bool pasid;         /* switches the PASID capability off on the way */
        bool slot;          /* does all this to every function of the slot */
        bool below;         /* disturbs whatever is below the function ... */
        Operation to_below; /* ... as this does */
} Effect;

const Effect *effect_of(Operation operation);

/* The operations (1 << Operation) that `operation` on `function` does to the function itself, as
 * things stand; `operation` is always among them. */
unsigned effect_on_function(const Function *function, Operation operation);

/* The same for each VF of `pf`. */
unsigned effect_on_vfs(const Function *pf, Operation operation);

/* The same for a function below it; 0 where `operation` is not felt there. */
unsigned effect_on_below(const Function *below, Operation operation);

/* The operations that `function`'s own inhibitors forbid. */
unsigned effect_inhibited(const Function *function);

/* Whether an inhibitor, of `function` or of one of its VFs, stands against `operation` on
 * `function`. */
bool effect_is_inhibited(const Function *function, Operation operation);
