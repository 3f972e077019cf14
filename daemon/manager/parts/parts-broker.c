/* The parts that give functions to clients: what they ask of each other, and of users. */
#include "daemon/broker/lease-opening.h"
#include "daemon/broker/leases.h"
#include "daemon/broker/records.h"
#include "daemon/broker/sessions.h"
#include "daemon/broker/single-requests.h"
#include "daemon/broker/spawner.h"
#include "daemon/broker/vf-tokens.h"
#include "daemon/manager/parts/parts.h"
#include "daemon/usage/users.h"

/* A session, lease or token that has come or gone is to be found by the next daemon. */
static void on_kept_changed(void *userdata, PciKey key) {
        const PartContext *context = userdata;

        context->host->record_changed(context->host_context);
        context->host->users_changed(context->host_context, key);
}

/* --- processes that do not end */

/* The process keeps the function in use, as a user of it or not; this problem is the reason that an
 * administrator finds. */
static void on_child_hangs(void *problems, const KilledChild *child) {
        problems_report_function(problems, pci_address_from_key(child->key), "process",
                                 "Failed to end process %d (%s): it hangs in the kernel",
                                 (int) child->pid, child->name);
}

static void on_child_released(void *problems, PciKey key) {
        problems_resolve_function(problems, pci_address_from_key(key), "process");
}

const ChildrenHandler children_handler = {
        .hangs = on_child_hangs,
        .released = on_child_released,
};

/* --- the spawner of their processes */

static int new_spawner(const PartContext *context, void **ret) {
        *ret = spawner_new(context->event, context->problems, context->spawn_socket,
                           &(SpawnProgram){ context->io_program, context->io_user });
        return 0;
}

static void free_spawner(void *self) {
        (void) spawner_free(self);
}

const Part spawner_part = { .name = "spawner", .new = new_spawner, .free = free_spawner };

/* --- sessions */

/* Else vfwarden-io would be seen for a moment as a user of its own. */
static void on_session_process_ended(void *userdata) {
        users_drop_ended(part_find((const PartContext *) userdata, users_part));
}

static const SessionsHandler sessions_handler = {
        .changed = on_kept_changed,
        .process_ended = on_session_process_ended,
};

static int new_sessions(const PartContext *context, void **ret) {
        *ret = sessions_new(context->event, part_find(context, spawner_part), context->children,
                            context->inventory, context->store, &sessions_handler,
                            (void *) context);
        return 0;
}

static int adopt_sessions(void *self, const GArray *records) {
        return sessions_adopt(self, records);
}

static void record_sessions(void *self, GArray *records) {
        sessions_record(self, records);
}

static void attach_session(void *self, Function *function) {
        sessions_attach(self, function);
}

static int sessions_hear(void *self, Function *function, unsigned news) {
        single_requests_function_changed(self, function);
        sessions_function_changed(self, function);
        return 0;
}

static void end_session_calls(void *self, const char *why) {
        sessions_end_calls(self, why);
}

static void free_sessions(void *self) {
        (void) sessions_free(self);
}

/* An unplug ends the session of a function that goes (policy/unplug.h). */
const Part sessions_part = {
        .name = "sessions",
        .section = &sessions_section,
        .new = new_sessions,
        .adopt = adopt_sessions,
        .record = record_sessions,
        .attach = attach_session,
        .hears = PART_NEWS_READ | PART_NEWS_USERS | PART_NEWS_VF_USERS | PART_NEWS_OPERATION,
        .function_changed = sessions_hear,
        .end_calls = end_session_calls,
        .free = free_sessions,
};

/* --- VF tokens */

static void on_refresh(void *userdata, PciKey pf, VfTokenRefreshed *done, void *done_context) {
        users_refresh(part_find((const PartContext *) userdata, users_part), &pf, 1, done,
                      done_context);
}

static bool parts_broker_is_open(void *userdata, PciKey key) {
        return users_device_is_open(part_find((const PartContext *) userdata, users_part), key);
}

static bool is_node_of(void *userdata, PciKey key, const char *name) {
        return users_is_node_of(part_find((const PartContext *) userdata, users_part), key, name);
}

static const VfTokensHandler vf_tokens_handler = {
        .changed = on_kept_changed,
        .refresh = on_refresh,
        .is_open = parts_broker_is_open,
        .is_node_of = is_node_of,
};

static int new_vf_tokens(const PartContext *context, void **ret) {
        *ret = vf_tokens_new(context->event, part_find(context, spawner_part), context->children,
                             context->inventory, context->store, &vf_tokens_handler,
                             (void *) context);
        return 0;
}

static int adopt_vf_tokens(void *self, const GArray *records) {
        vf_tokens_adopt(self, records);
        return 0;
}

static void record_vf_tokens(void *self, GArray *records) {
        vf_tokens_record(self, records);
}

static int vf_tokens_hear(void *self, Function *function, unsigned news) {
        if (function_in_use(function))
                vf_tokens_pf_used(self, function);
        return 0;
}

static void vf_tokens_hear_of_end(void *self, Function *function) {
        vf_tokens_function_gone(self, function->facts.key);
}

static void end_vf_token_calls(void *self, const char *why) {
        vf_tokens_end_calls(self, why);
}

static void free_vf_tokens(void *self) {
        (void) vf_tokens_free(self);
}

const Part vf_tokens_part = {
        .name = "vf-tokens",
        .section = &vf_tokens_section,
        .new = new_vf_tokens,
        .adopt = adopt_vf_tokens,
        .record = record_vf_tokens,
        .hears = PART_NEWS_USERS,
        .function_changed = vf_tokens_hear,
        .function_gone = vf_tokens_hear_of_end,
        .end_calls = end_vf_token_calls,
        .free = free_vf_tokens,
};

/* --- leases */

static const LeasesHandler leases_handler = { .changed = on_kept_changed };

static int new_leases(const PartContext *context, void **ret) {
        *ret = leases_new(context->event, part_find(context, spawner_part), context->children,
                          context->inventory, part_find(context, users_part), context->store,
                          &leases_handler, (void *) context);
        return 0;
}

static int adopt_leases(void *self, const GArray *records) {
        leases_adopt(self, records);
        return 0;
}

static void record_leases(void *self, GArray *records) {
        leases_record(self, records);
}

static void attach_lease(void *self, Function *function) {
        leases_attach(self, function);
}

static int leases_hear(void *self, Function *function, unsigned news) {
        leases_function_changed(self, function);
        return 0;
}

static void leases_hear_of_end(void *self, Function *function) {
        leases_function_gone(self, function->facts.key);
}

static void end_lease_calls(void *self, const char *why) {
        lease_opening_end_calls(self, why);
}

static void free_leases(void *self) {
        (void) leases_free(self);
}

const Part leases_part = {
        .name = "leases",
        .section = &leases_section,
        .new = new_leases,
        .adopt = adopt_leases,
        .record = record_leases,
        .attach = attach_lease,
        .hears = PART_NEWS_READ,
        .function_changed = leases_hear,
        .function_gone = leases_hear_of_end,
        .end_calls = end_lease_calls,
        .free = free_leases,
};
