#include "daemon/manager/state-keeper.h"

#include "daemon/base/log.h"

#include <errno.h>

struct StateKeeper {
        char *directory;
        const PartContext *context;
        Parts *parts;
        const Settings *settings;
        bool changed; /* since it was saved */
        bool failed;  /* the last attempt; it has been complained of */
};

StateKeeper *state_keeper_new(const char *directory, const PartContext *context, Parts *parts,
                              const Settings *settings) {
        StateKeeper *keeper = g_new0(StateKeeper, 1);

        keeper->directory = g_strdup(directory);
        keeper->context = context;
        keeper->parts = parts;
        keeper->settings = settings;
        return keeper;
}

StateKeeper *state_keeper_free(StateKeeper *keeper) {
        if (!keeper)
                return NULL;
        g_free(keeper->directory);
        g_free(keeper);
        return NULL;
}

int state_keeper_load(StateKeeper *keeper, State **ret, bool *ret_lost) {
        g_autoptr(State) state = NULL;
        g_autofree char *reason = NULL;
        int r;

        reserve_open(keeper->context->reserve);
        r = state_load(keeper->directory, parts_sections(keeper->parts), &state, &reason);
        reserve_close(keeper->context->reserve);
        if (state_is_out_of_reach(r)) {
                log_error("Failed to read the state in %s: %s", keeper->directory, reason);
                return r;
        }
        *ret_lost = r < 0 && r != -ENOENT;
        if (*ret_lost)
                log_warning("the state in %s cannot be used, locks are found by looking: %s",
                            keeper->directory, reason);
        *ret = g_steal_pointer(&state);
        return 0;
}

void state_keeper_mark_changed(StateKeeper *keeper) {
        keeper->changed = true;
}

/* Saving must work, too, when all descriptors are used up. */
static int save(const StateKeeper *keeper, const State *state) {
        int r = state_save(keeper->directory, state);

        if (!reserve_helps(r))
                return r;
        reserve_open(keeper->context->reserve);
        r = state_save(keeper->directory, state);
        reserve_close(keeper->context->reserve);
        return r;
}

static State *record(const StateKeeper *keeper) {
        State *state = state_new(parts_sections(keeper->parts));

        state_set_released(state, settings_are_released(keeper->settings));
        parts_record(keeper->parts, state);
        return state;
}

static void state_keeper_note(StateKeeper *keeper, int r) {
        if (r < 0 && !keeper->failed)
                log_error(
                        "the state cannot be saved in %s, it is tried again with every change: %s",
                        keeper->directory, g_strerror(-r));
        if (r < 0)
                problems_report(
                        keeper->context->problems, "state",
                        "Failed to save the state in %s: %s; what must outlive the daemon is "
                        "refused, and own modes of files since then end with it",
                        keeper->directory, g_strerror(-r));
        else
                problems_resolve(keeper->context->problems, "state");
        keeper->failed = keeper->changed = r < 0;
}

int state_keeper_save(StateKeeper *keeper) {
        g_autoptr(State) state = NULL;
        int r;

        if (!keeper->changed)
                return 0;
        state = record(keeper);
        r = save(keeper, state);
        if (r == -ENOENT && state_make_directory(keeper->directory) >= 0)
                r = save(keeper, state);
        state_keeper_note(keeper, r);
        return r;
}

bool state_keeper_is_failing(const StateKeeper *keeper) {
        return keeper->failed;
}

char *state_keeper_describe_failure(const StateKeeper *keeper, int error) {
        if (error == -EXFULL)
                return g_strdup(fd_store_error(error));
        return g_strdup_printf("Failed to save the state in %s: %s; nothing was changed",
                               keeper->directory, g_strerror(-error));
}
