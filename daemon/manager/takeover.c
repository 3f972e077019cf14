#include "daemon/manager/takeover.h"

#include "daemon/guard/function-marks.h"
#include "daemon/guard/kernel-guard.h"
#include "daemon/guard/protected-files.h"
#include "daemon/guard/stray-files.h"
#include "daemon/guard/unplug.h"

struct Takeover {
        Apply *apply;
        const InventoryKeeper *keeper;
        bool pending;
        bool lost; /* the records */
};

Takeover *takeover_new(Apply *apply, const InventoryKeeper *keeper) {
        Takeover *takeover = g_new(Takeover, 1);

        *takeover = (Takeover){ .apply = apply, .keeper = keeper };
        return takeover;
}

Takeover *takeover_free(Takeover *takeover) {
        g_free(takeover);
        return NULL;
}

void takeover_begin(Takeover *takeover, bool lost) {
        takeover->pending = true;
        takeover->lost = lost;
}

void takeover_update(Takeover *takeover) {
        const PartContext *context = apply_context(takeover->apply);
        ProtectedFiles *files = part_find(context, protected_files_part);
        const Function *function;

        if (!takeover->pending || !inventory_keeper_knows_all(takeover->keeper))
                return;
        takeover->pending = false;
        function_marks_end_adoption(part_find(context, function_marks_part));
        unplugs_resume_all(part_find(context, unplugs_part));
        protected_files_drop_adopted(files);
        if (takeover->lost)
                inventory_foreach (context->inventory, function)
                        stray_files_unlock(files, context->reserve, function, NULL);
        kernel_guards_end_adoption(part_find(context, kernel_guard_part));
        (void) state_keeper_save(apply_state(takeover->apply));
}
