#include "daemon/manager/takeover.h"

#include "daemon/base/log.h"
#include "daemon/guard/function-marks.h"
#include "daemon/guard/kernel-guard.h"
#include "daemon/guard/protected-files.h"
#include "daemon/guard/stray-files.h"
#include "daemon/guard/unplug.h"

struct Takeover {
        const PartContext *context;
        StateKeeper *state;
        const InventoryKeeper *keeper;
        Parts *parts;
        Settings *settings;
        bool pending;
        bool lost; /* the records */
};

Takeover *takeover_new(Apply *apply, const InventoryKeeper *keeper, Parts *parts,
                       Settings *settings) {
        Takeover *takeover = g_new(Takeover, 1);

        *takeover = (Takeover){
                .context = apply_context(apply),
                .state = apply_state(apply),
                .keeper = keeper,
                .parts = parts,
                .settings = settings,
        };
        return takeover;
}

Takeover *takeover_free(Takeover *takeover) {
        g_free(takeover);
        return NULL;
}

/* To forget a process of an earlier run that goes on would let others at its function. */
int takeover_adopt(Takeover *takeover, bool started, State **ret) {
        g_autoptr(State) state = NULL;
        bool released;
        int r;

        r = state_keeper_load(takeover->state, &state, &takeover->lost);
        if (r < 0)
                return r;
        released = state_is_released(state) && !started;
        settings_set_released(takeover->settings, released);
        if (state_is_released(state) != released)
                state_keeper_mark_changed(takeover->state);
        settings_show_release(takeover->settings);
        r = parts_adopt(takeover->parts, state);
        if (r < 0) {
                log_error("Failed to look at the processes of an earlier run: %s", g_strerror(-r));
                return r;
        }
        fd_store_drop_untaken(takeover->context->store);
        takeover->pending = true;
        *ret = g_steal_pointer(&state);
        return 0;
}

void takeover_update(Takeover *takeover) {
        const PartContext *context = takeover->context;
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
                        stray_files_unlock(files, context->reserve, function, NULL, NULL);
        kernel_guards_end_adoption(part_find(context, kernel_guard_part));
        (void) state_keeper_save(takeover->state);
}
