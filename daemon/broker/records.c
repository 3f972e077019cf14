#include "daemon/broker/records.h"

#include "daemon/usage/vfio-node.h"

#include <errno.h>

/* --- I/O sessions */

static int read_session(StateReader *reader, JsonObject *object, void *ret) {
        const char *command = state_section_text(object, "command");
        const char *unit = state_section_text(object, "unit");
        StateSession *record = ret;

        if (!command || !unit || state_section_address(object, &record->key) < 0 ||
            state_section_number(object, "number", STATE_COUNTER_MAX, &record->number) < 0 ||
            state_section_number(object, "inode", STATE_ID_MAX, &record->inode) < 0 ||
            state_section_child(object, "io-pid", &record->io_pid) < 0 ||
            state_section_number(object, "io-start-time", STATE_COUNTER_MAX,
                                 &record->io_start_time) < 0 ||
            state_section_number(object, "max-mapped", STATE_COUNTER_MAX, &record->max_mapped) <
                    0 ||
            state_section_number32(object, "uid", UINT32_MAX, &record->uid) < 0 ||
            state_section_number32(object, "pid", UINT32_MAX, &record->pid) < 0 ||
            state_section_number(object, "since", STATE_COUNTER_MAX, &record->since_usec) < 0 ||
            !state_section_is_new_number(reader, "session", record->number) ||
            !state_section_is_new_number(reader, "session-of", record->key))
                return -EBADMSG;
        record->command = g_strdup(command);
        record->unit = g_strdup(unit);
        return 0;
}

static void write_session(StateWriter *writer, const void *data) {
        const StateSession *record = data;

        state_section_add_number(writer, "number", record->number);
        state_section_add_address(writer, record->key);
        state_section_add_number(writer, "inode", record->inode);
        state_section_add_number(writer, "io-pid", record->io_pid);
        state_section_add_number(writer, "io-start-time", record->io_start_time);
        state_section_add_number(writer, "max-mapped", record->max_mapped);
        state_section_add_number(writer, "uid", record->uid);
        state_section_add_number(writer, "pid", record->pid);
        state_section_add_text(writer, "command", record->command);
        state_section_add_text(writer, "unit", record->unit);
        state_section_add_number(writer, "since", record->since_usec);
}

static void clear_session(void *data) {
        StateSession *record = data;

        g_free(record->command);
        g_free(record->unit);
}

const StateSection sessions_section = {
        .name = "sessions",
        .record_size = sizeof(StateSession),
        .read = read_session,
        .write = write_session,
        .clear = clear_session,
};

/* --- leases */

static int read_lease(StateReader *reader, JsonObject *object, void *ret) {
        const char *command = state_section_text(object, "command");
        const char *unit = state_section_text(object, "unit");
        const char *node = state_section_text(object, "node");
        const char *kind = state_section_text(object, "kind");
        StateLease *record = ret;
        Lease *lease = &record->lease;
        uint32_t group;

        if (!command || !unit || !node || !vfio_node_is_name(node) || !kind ||
            state_section_address(object, &record->key) < 0 ||
            state_section_number(object, "generation", STATE_COUNTER_MAX, &lease->generation) < 0 ||
            state_section_number(object, "inode", STATE_ID_MAX, &record->inode) < 0 ||
            state_section_number(object, "binding", STATE_ID_MAX, &record->binding) < 0 ||
            state_section_number32(object, "group", INT32_MAX, &group) < 0 ||
            state_section_number32(object, "uid", UINT32_MAX, &lease->uid) < 0 ||
            state_section_number32(object, "pid", UINT32_MAX, &lease->pid) < 0 ||
            state_section_number(object, "since", STATE_COUNTER_MAX, &lease->since_usec) < 0)
                return -EBADMSG;
        lease->kind = lease_kind_from_string(kind);
        if ((int) lease->kind < 0 ||
            !state_section_is_new_number(reader, "lease", lease->generation) ||
            !state_section_is_new_number(reader, "lease-of", record->key))
                return -EBADMSG;
        record->group = (int32_t) group;
        record->node = g_strdup(node);
        lease->command = g_strdup(command);
        lease->unit = g_strdup(unit);
        return 0;
}

static void write_lease(StateWriter *writer, const void *data) {
        const StateLease *record = data;
        const Lease *lease = &record->lease;

        state_section_add_number(writer, "generation", lease->generation);
        state_section_add_address(writer, record->key);
        state_section_add_number(writer, "inode", record->inode);
        state_section_add_number(writer, "binding", record->binding);
        state_section_add_number(writer, "group", (uint64_t) MAX(record->group, 0));
        state_section_add_text(writer, "node", record->node);
        state_section_add_text(writer, "kind", lease_kind_to_string(lease->kind));
        state_section_add_number(writer, "uid", lease->uid);
        state_section_add_number(writer, "pid", lease->pid);
        state_section_add_text(writer, "command", lease->command);
        state_section_add_text(writer, "unit", lease->unit);
        state_section_add_number(writer, "since", lease->since_usec);
}

static void clear_lease(void *data) {
        StateLease *record = data;

        g_free(record->node);
        g_free(record->lease.command);
        g_free(record->lease.unit);
}

const StateSection leases_section = {
        .name = "leases",
        .record_size = sizeof(StateLease),
        .read = read_lease,
        .write = write_lease,
        .clear = clear_lease,
};

/* --- VF tokens */

static int read_vf_token(StateReader *reader, JsonObject *object, void *ret) {
        StateVfToken *record = ret;

        if (state_section_address(object, &record->key) < 0 ||
            state_section_number(object, "number", STATE_COUNTER_MAX, &record->number) < 0 ||
            state_section_number(object, "inode", STATE_ID_MAX, &record->inode) < 0 ||
            state_section_number(object, "binding", STATE_ID_MAX, &record->binding) < 0 ||
            !state_section_is_new_number(reader, "vf-token", record->number) ||
            !state_section_is_new_number(reader, "vf-token-of", record->key))
                return -EBADMSG;
        record->imposed = state_section_flag(object, "imposed");
        return 0;
}

static void write_vf_token(StateWriter *writer, const void *data) {
        const StateVfToken *record = data;

        state_section_add_number(writer, "number", record->number);
        state_section_add_address(writer, record->key);
        state_section_add_number(writer, "inode", record->inode);
        state_section_add_number(writer, "binding", record->binding);
        state_section_add_flag(writer, "imposed", record->imposed);
}

const StateSection vf_tokens_section = {
        .name = "vf-tokens",
        .record_size = sizeof(StateVfToken),
        .read = read_vf_token,
        .write = write_vf_token,
};
