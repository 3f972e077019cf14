#include "policy/unplug.h"

#include "policy/check.h"
#include "policy/names.h"
#include "policy/topology.h"

#include <string.h>

static const char *const unplug_state_names[_UNPLUG_STATE_MAX] = {
        [UNPLUG_STATE_PRESENT] = "present",   [UNPLUG_STATE_REQUESTED] = "requested",
        [UNPLUG_STATE_DRAINING] = "draining", [UNPLUG_STATE_UNBINDING] = "unbinding",
        [UNPLUG_STATE_REMOVING] = "removing", [UNPLUG_STATE_OVERTAKEN] = "overtaken",
        [UNPLUG_STATE_GONE] = "gone",
};

static const char *const unplug_event_names[_UNPLUG_EVENT_MAX] = {
        [UNPLUG_EVENT_REQUEST] = "request",       [UNPLUG_EVENT_REQUEST_INSIST] = "request-insist",
        [UNPLUG_EVENT_RESUME] = "resume",         [UNPLUG_EVENT_CANCEL] = "cancel",
        [UNPLUG_EVENT_DEADLINE] = "deadline",     [UNPLUG_EVENT_USER_LEFT] = "user-left",
        [UNPLUG_EVENT_USERS_GONE] = "users-gone", [UNPLUG_EVENT_REMOVAL_SEEN] = "removal-seen",
        [UNPLUG_EVENT_UNBOUND] = "unbound",       [UNPLUG_EVENT_UNBOUND_STAYS] = "unbound-stays",
        [UNPLUG_EVENT_FAILED] = "failed",         [UNPLUG_EVENT_REMOVED] = "removed",
};

static const char *const unplug_action_names[UNPLUG_ACTIONS_MAX] = {
        "refuse",        "close",
        "ask",           "arm",
        "remember",      "unbind",
        "remove",        "disarm",
        "forget",        "open",
        "end-sessions",  "reply-done",
        "reply-timeout", "reply-cancelled",
        "reply-failed",  "reply-overtaken",
        "reply-gone",
};

/* clang-format off */
#define DO(action) UNPLUG_ACTION_##action
#define TO(next, what) { UNPLUG_STATE_##next, (what) }

/* Requested, and can be cancelled. */
#define BEGIN   (DO(CLOSE) | DO(ASK) | DO(ARM))
/* From here on it cannot. It is written down first: a daemon that comes back must go on. */
#define COMMIT  (DO(REMEMBER) | DO(UNBIND))
/* The ways out: the request is over and the function keeps its users. */
#define RELEASE (DO(DISARM) | DO(OPEN))
#define UNDO    (RELEASE | DO(FORGET))
/* It is gone: no session may touch it, and the group's node may be another function's as well. */
#define END     (DO(DISARM) | DO(FORGET) | DO(OPEN) | DO(END_SESSIONS))

/* A cell that is not listed has no effect: the state stays, without an action. Cells are listed by
 * state, then in the order of the events. */
static const struct {
        UnplugStep step;
        bool listed;
} steps[_UNPLUG_STATE_MAX][_UNPLUG_EVENT_MAX] = {
#define AT(state, event, next, what) \
        [UNPLUG_STATE_##state][UNPLUG_EVENT_##event] = { TO(next, what), true }
        AT(PRESENT, REQUEST,        REQUESTED, BEGIN),
        AT(PRESENT, REQUEST_INSIST, UNBINDING, BEGIN | COMMIT),
        AT(PRESENT, RESUME,         UNBINDING, DO(CLOSE) | COMMIT),
        AT(PRESENT, CANCEL,         PRESENT,   DO(REFUSE)),
        AT(PRESENT, REMOVAL_SEEN,   OVERTAKEN, DO(CLOSE) | DO(ASK)),
        AT(PRESENT, REMOVED,        GONE,      END),

        AT(REQUESTED, REQUEST,        REQUESTED, DO(REFUSE)),
        AT(REQUESTED, REQUEST_INSIST, REQUESTED, DO(REFUSE)),
        AT(REQUESTED, CANCEL,         PRESENT,   RELEASE | DO(REPLY_CANCELLED)),
        AT(REQUESTED, DEADLINE,       PRESENT,   DO(OPEN) | DO(REPLY_TIMEOUT)),
        AT(REQUESTED, USER_LEFT,      DRAINING,  0),
        AT(REQUESTED, USERS_GONE,     UNBINDING, COMMIT),
        AT(REQUESTED, REMOVAL_SEEN,   OVERTAKEN, DO(DISARM) | DO(REPLY_OVERTAKEN)),
        AT(REQUESTED, REMOVED,        GONE,      END | DO(REPLY_GONE)),

        AT(DRAINING, REQUEST,        DRAINING,  DO(REFUSE)),
        AT(DRAINING, REQUEST_INSIST, DRAINING,  DO(REFUSE)),
        AT(DRAINING, CANCEL,         PRESENT,   RELEASE | DO(REPLY_CANCELLED)),
        AT(DRAINING, DEADLINE,       PRESENT,   DO(OPEN) | DO(REPLY_TIMEOUT)),
        AT(DRAINING, USERS_GONE,     UNBINDING, COMMIT),
        AT(DRAINING, REMOVAL_SEEN,   OVERTAKEN, DO(DISARM) | DO(REPLY_OVERTAKEN)),
        AT(DRAINING, REMOVED,        GONE,      END | DO(REPLY_GONE)),

        AT(UNBINDING, REQUEST,        UNBINDING, DO(REFUSE)),
        AT(UNBINDING, REQUEST_INSIST, UNBINDING, DO(REFUSE)),
        AT(UNBINDING, CANCEL,         UNBINDING, DO(REFUSE)),
        AT(UNBINDING, DEADLINE,       UNBINDING, DO(REPLY_TIMEOUT)),
        AT(UNBINDING, UNBOUND,        REMOVING,  DO(REMEMBER) | DO(REMOVE)),
        AT(UNBINDING, UNBOUND_STAYS,  PRESENT,   UNDO | DO(REPLY_DONE)),
        AT(UNBINDING, FAILED,         PRESENT,   UNDO | DO(REPLY_FAILED)),
        AT(UNBINDING, REMOVED,        GONE,      END | DO(REPLY_GONE)),

        AT(REMOVING, REQUEST,        REMOVING, DO(REFUSE)),
        AT(REMOVING, REQUEST_INSIST, REMOVING, DO(REFUSE)),
        AT(REMOVING, CANCEL,         REMOVING, DO(REFUSE)),
        AT(REMOVING, DEADLINE,       REMOVING, DO(REPLY_TIMEOUT)),
        AT(REMOVING, FAILED,         PRESENT,  UNDO | DO(REPLY_FAILED)),
        AT(REMOVING, REMOVED,        GONE,     END | DO(REPLY_DONE)),

        /* An external unbind may go on to a removal: `removed` then comes in `present`. */
        AT(OVERTAKEN, REQUEST,        OVERTAKEN, DO(REFUSE)),
        AT(OVERTAKEN, REQUEST_INSIST, OVERTAKEN, DO(REFUSE)),
        AT(OVERTAKEN, CANCEL,         OVERTAKEN, DO(REFUSE)),
        AT(OVERTAKEN, RESUME,         UNBINDING, COMMIT),
        AT(OVERTAKEN, UNBOUND,        PRESENT,   DO(OPEN)),
        AT(OVERTAKEN, UNBOUND_STAYS,  PRESENT,   DO(OPEN)),
        AT(OVERTAKEN, REMOVED,        GONE,      END),

        AT(GONE, REQUEST,        GONE, DO(REFUSE)),
        AT(GONE, REQUEST_INSIST, GONE, DO(REFUSE)),
        AT(GONE, CANCEL,         GONE, DO(REFUSE)),
#undef AT
};
/* clang-format on */

UnplugStep unplug_step(UnplugState state, UnplugEvent event) {
        if (!steps[state][event].listed)
                return (UnplugStep){ .state = state };
        return steps[state][event].step;
}

const UnplugReply *unplug_reply(unsigned actions) {
        static const struct {
                UnplugAction action;
                UnplugReply reply;
        } replies[] = {
                { UNPLUG_ACTION_REPLY_DONE, { 0, NULL } },
                { UNPLUG_ACTION_REPLY_TIMEOUT,
                  { -ETIMEDOUT, "timed out waiting for its users to release it" } },
                { UNPLUG_ACTION_REPLY_CANCELLED, { -ECANCELED, "the unplug was cancelled" } },
                { UNPLUG_ACTION_REPLY_FAILED, { -EIO, NULL } },
                { UNPLUG_ACTION_REPLY_OVERTAKEN, { -EALREADY, "an external removal has begun" } },
                { UNPLUG_ACTION_REPLY_GONE, { -ENODEV, "it was removed meanwhile" } },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(replies); i++)
                if (actions & replies[i].action)
                        return &replies[i].reply;
        return NULL;
}

bool unplug_waits_for_others(const Function *function) {
        return function->kind == FUNCTION_KIND_PF || function->below ||
               topology_is_bridge(function) || g_str_equal(function->facts.driver, "vmd");
}

bool unplug_has_driver(const Function *function) {
        bool bound = topology_still_bound(function);

        for (guint i = 0; function->vfs && i < function->vfs->len; i++)
                bound |= ((const Function *) function->vfs->pdata[i])->facts.driver[0] != '\0';
        return bound;
}

static void unplug_append_user(GString *text, const User *user) {
        g_string_append_printf(text, " %u ", user->pid);
}

char *unplug_users_text(const Function *function) {
        g_autoptr(GPtrArray) users = check_unplug_list_users(function);
        GString *text = g_string_new(NULL);

        for (guint i = 0; i < users->len; i++)
                unplug_append_user(text, users->pdata[i]);
        return g_string_free(text, FALSE);
}

bool unplug_users_are_among(const Function *function, const char *asked) {
        g_autoptr(GPtrArray) users = check_unplug_list_users(function);
        bool all = true;

        for (guint i = 0; i < users->len; i++) {
                g_autoptr(GString) text = g_string_new(NULL);

                unplug_append_user(text, users->pdata[i]);
                all = all && strstr(asked, text->str);
        }
        return all;
}

bool unplug_users_are_known(const Function *function) {
        g_autoptr(GPtrArray) users = check_unplug_list_users(function);
        bool known = true;

        for (guint i = 0; i < users->len; i++)
                known = known && !((const User *) users->pdata[i])->unknown;
        return known;
}

bool unplug_is_taken_outside(const Function *function) {
        return function->outside && function->outside->takes;
}

bool unplug_is_left(const Function *function) {
        return !function->operation && !unplug_is_taken_outside(function) &&
               (check_unplug_users(function) == 0 || function->facts.driver[0] != '\0');
}

FunctionState unplug_state_shown(UnplugState state) {
        static const FunctionState shown[_UNPLUG_STATE_MAX] = {
                [UNPLUG_STATE_PRESENT] = FUNCTION_STATE_PRESENT,
                [UNPLUG_STATE_REQUESTED] = FUNCTION_STATE_UNPLUG_REQUESTED,
                [UNPLUG_STATE_DRAINING] = FUNCTION_STATE_DRAINING,
                [UNPLUG_STATE_UNBINDING] = FUNCTION_STATE_REMOVING,
                [UNPLUG_STATE_REMOVING] = FUNCTION_STATE_REMOVING,
                [UNPLUG_STATE_OVERTAKEN] = FUNCTION_STATE_REMOVING,
                [UNPLUG_STATE_GONE] = FUNCTION_STATE_REMOVING,
        };

        return shown[state];
}

bool unplug_state_reversible(UnplugState state) {
        return state == UNPLUG_STATE_REQUESTED || state == UNPLUG_STATE_DRAINING;
}

bool unplug_state_closed(UnplugState state) {
        return state != UNPLUG_STATE_PRESENT;
}

const char *unplug_state_to_string(UnplugState state) {
        return unplug_state_names[state];
}

const char *unplug_event_to_string(UnplugEvent event) {
        return unplug_event_names[event];
}

const char *unplug_action_to_string(unsigned action) {
        for (unsigned i = 0; i < UNPLUG_ACTIONS_MAX; i++)
                if (action == 1U << i)
                        return unplug_action_names[i];
        return NULL;
}
