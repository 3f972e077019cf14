#include "policy/unplug.h"

#include <criterion/criterion.h>
#include <string.h>

/* Every cell, in words: what is not here is not there. An empty cell: the state stays, and nothing
 * is done. */
static const struct {
        const char *event;
        const char *next[_UNPLUG_STATE_MAX]; /* "STATE ACTION..." or "" */
} table[] = {
        { "request",
          { "requested close ask arm", "requested refuse", "draining refuse", "unbinding refuse",
            "removing refuse", "overtaken refuse", "gone refuse" } },
        { "request-insist",
          { "unbinding close ask arm remember unbind", "requested refuse", "draining refuse",
            "unbinding refuse", "removing refuse", "overtaken refuse", "gone refuse" } },
        { "resume",
          { "unbinding close remember unbind", "", "", "", "", "unbinding remember unbind", "" } },
        { "cancel",
          { "present refuse", "present disarm open reply-cancelled",
            "present disarm open reply-cancelled", "unbinding refuse", "removing refuse",
            "overtaken refuse", "gone refuse" } },
        { "deadline",
          { "", "present open reply-timeout", "present open reply-timeout",
            "unbinding reply-timeout", "removing reply-timeout", "", "" } },
        { "user-left", { "", "draining", "", "", "", "", "" } },
        { "users-gone",
          { "", "unbinding remember unbind", "unbinding remember unbind", "", "", "", "" } },
        { "removal-seen",
          { "overtaken close ask", "overtaken disarm reply-overtaken",
            "overtaken disarm reply-overtaken", "", "", "", "" } },
        { "unbound", { "", "", "", "removing remember remove", "", "present open", "" } },
        { "unbound-stays",
          { "", "", "", "present disarm forget open reply-done", "", "present open", "" } },
        { "failed",
          { "", "", "", "present disarm forget open reply-failed",
            "present disarm forget open reply-failed", "", "" } },
        { "removed",
          { "gone disarm forget open end-sessions",
            "gone disarm forget open end-sessions reply-gone",
            "gone disarm forget open end-sessions reply-gone",
            "gone disarm forget open end-sessions reply-gone",
            "gone disarm forget open end-sessions reply-done",
            "gone disarm forget open end-sessions", "" } },
};

static const char *const states[] = { "present",  "requested", "draining", "unbinding",
                                      "removing", "overtaken", "gone" };

Test(unplug, every_cell) {
        cr_assert_eq(G_N_ELEMENTS(table), _UNPLUG_EVENT_MAX);
        cr_assert_eq(G_N_ELEMENTS(states), _UNPLUG_STATE_MAX);
        for (UnplugEvent event = 0; event < _UNPLUG_EVENT_MAX; event++) {
                cr_assert_str_eq(unplug_event_to_string(event), table[event].event);
                for (UnplugState state = 0; state < _UNPLUG_STATE_MAX; state++) {
                        UnplugStep step = unplug_step(state, event);
                        g_autoptr(GString) text = g_string_new(unplug_state_to_string(step.state));
                        const char *expected = table[event].next[state];

                        cr_assert_str_eq(unplug_state_to_string(state), states[state]);
                        for (unsigned i = 0; i < UNPLUG_ACTIONS_MAX; i++)
                                if (step.actions & (1U << i))
                                        g_string_append_printf(text, " %s",
                                                               unplug_action_to_string(1U << i));
                        cr_assert_eq(step.actions >> UNPLUG_ACTIONS_MAX, 0);
                        cr_assert_str_eq(text->str, expected[0] != '\0' ? expected : states[state],
                                         "%s in %s", table[event].event, states[state]);
                }
        }
}

/* What the states are to others. */
Test(unplug, states) {
        static const struct {
                FunctionState shown;
                bool reversible, closed;
        } expected[] = {
                { FUNCTION_STATE_PRESENT, false, false },
                { FUNCTION_STATE_UNPLUG_REQUESTED, true, true },
                { FUNCTION_STATE_DRAINING, true, true },
                { FUNCTION_STATE_REMOVING, false, true },
                { FUNCTION_STATE_REMOVING, false, true },
                { FUNCTION_STATE_REMOVING, false, true },
                { FUNCTION_STATE_REMOVING, false, true },
        };

        for (UnplugState state = 0; state < _UNPLUG_STATE_MAX; state++) {
                cr_assert_eq(unplug_state_shown(state), expected[state].shown, "%s", states[state]);
                cr_assert_eq(unplug_state_reversible(state), expected[state].reversible, "%s",
                             states[state]);
                cr_assert_eq(unplug_state_closed(state), expected[state].closed, "%s",
                             states[state]);
        }
}

/* What no cell may ever do. */
Test(unplug, rules_for_all_cells) {
        for (UnplugState state = 0; state < _UNPLUG_STATE_MAX; state++)
                for (UnplugEvent event = 0; event < _UNPLUG_EVENT_MAX; event++) {
                        UnplugStep step = unplug_step(state, event);
                        unsigned replies = step.actions & UNPLUG_ACTION_REPLIES;

                        cr_assert_eq(replies & (replies - 1), 0, "two replies");
                        if (step.actions & UNPLUG_ACTION_REFUSE)
                                cr_assert(step.state == state &&
                                          step.actions == UNPLUG_ACTION_REFUSE);
                        if (step.actions & UNPLUG_ACTION_REMOVE)
                                cr_assert_eq(state, UNPLUG_STATE_UNBINDING);
                        if (step.actions & UNPLUG_ACTION_UNBIND)
                                cr_assert(step.actions & UNPLUG_ACTION_REMEMBER);
                        if (state != UNPLUG_STATE_PRESENT && step.state == UNPLUG_STATE_PRESENT)
                                cr_assert(step.actions & UNPLUG_ACTION_OPEN);
                        if (state == UNPLUG_STATE_PRESENT && unplug_state_closed(step.state) &&
                            step.state != UNPLUG_STATE_GONE)
                                cr_assert(step.actions & UNPLUG_ACTION_CLOSE);
                        if (state == UNPLUG_STATE_GONE)
                                cr_assert_eq(step.state, UNPLUG_STATE_GONE);
                }
        cr_assert_null(unplug_action_to_string(0));
        cr_assert_null(unplug_action_to_string(3));
        cr_assert_null(unplug_action_to_string(1U << UNPLUG_ACTIONS_MAX));
}

/* Before all are known, what would go along might be overlooked. */
Test(unplug, waits_for_others_after_a_restart) {
        static const struct {
                FunctionKind kind;
                const char *driver;
                uint32_t class_code;
                bool waits;
        } rows[] = {
                { FUNCTION_KIND_PLAIN, "vfio-pci", 0x020000, false },
                { FUNCTION_KIND_VF, "vfio-pci", 0x020000, false },
                { FUNCTION_KIND_PF, "igb", 0x020000, true },
                { FUNCTION_KIND_PLAIN, "pcieport", 0x060400, true },
                { FUNCTION_KIND_PLAIN, "vmd", 0x010400, true },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
                Function function = { .kind = rows[i].kind,
                                      .facts.class_code = rows[i].class_code,
                                      .facts.driver = g_ref_string_new(rows[i].driver) };

                cr_assert_eq(unplug_waits_for_others(&function), rows[i].waits, "row %zu", i);
                g_ref_string_release(function.facts.driver);
        }
}

Test(unplug, replies) {
        cr_assert_null(unplug_reply(UNPLUG_ACTION_CLOSE | UNPLUG_ACTION_OPEN));
        for (unsigned i = 0; i < UNPLUG_ACTIONS_MAX; i++) {
                const UnplugReply *reply = unplug_reply(1U << i);

                cr_assert_eq(reply != NULL, (1U << i & UNPLUG_ACTION_REPLIES) != 0, "%s",
                             unplug_action_to_string(1U << i));
                if (reply)
                        cr_assert_eq(reply->result == 0, 1U << i == UNPLUG_ACTION_REPLY_DONE);
        }
}
