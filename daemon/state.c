#include "daemon/state.h"

#include "policy/number.h"

#include <errno.h>
#include <inttypes.h>
#include <json-glib/json-glib.h>
#include <stdio.h>
#include <string.h>

#define STATE_NAME "state.json"

static void state_file_clear(gpointer data) {
        g_free(((StateFile *) data)->path);
}

static void state_function_clear(gpointer data) {
        g_free(((StateFunction *) data)->lock_why);
}

static void state_inhibitor_clear(gpointer data) {
        StateInhibitor *inhibitor = data;

        g_free(inhibitor->inhibitor.who);
        g_free(inhibitor->inhibitor.why);
}

static void state_node_clear(gpointer data) {
        g_free(((StateNode *) data)->name);
}

static void state_session_clear(gpointer data) {
        StateSession *session = data;

        g_free(session->command);
        g_free(session->unit);
}

static void state_lease_clear(gpointer data) {
        StateLease *record = data;

        g_free(record->node);
        g_free(record->lease.command);
        g_free(record->lease.unit);
}

State *state_new(void) {
        State *state = g_new(State, 1);

        state->files = g_array_new(FALSE, TRUE, sizeof(StateFile));
        g_array_set_clear_func(state->files, state_file_clear);
        state->functions = g_array_new(FALSE, TRUE, sizeof(StateFunction));
        g_array_set_clear_func(state->functions, state_function_clear);
        state->inhibitors = g_array_new(FALSE, TRUE, sizeof(StateInhibitor));
        g_array_set_clear_func(state->inhibitors, state_inhibitor_clear);
        state->operations = g_array_new(FALSE, TRUE, sizeof(StateOperation));
        state->nodes = g_array_new(FALSE, TRUE, sizeof(StateNode));
        g_array_set_clear_func(state->nodes, state_node_clear);
        state->sessions = g_array_new(FALSE, TRUE, sizeof(StateSession));
        g_array_set_clear_func(state->sessions, state_session_clear);
        state->leases = g_array_new(FALSE, TRUE, sizeof(StateLease));
        g_array_set_clear_func(state->leases, state_lease_clear);
        state->vf_tokens = g_array_new(FALSE, TRUE, sizeof(StateVfToken));
        return state;
}

State *state_free(State *state) {
        if (!state)
                return NULL;
        g_array_unref(state->files);
        g_array_unref(state->functions);
        g_array_unref(state->inhibitors);
        g_array_unref(state->operations);
        g_array_unref(state->nodes);
        g_array_unref(state->sessions);
        g_array_unref(state->leases);
        g_array_unref(state->vf_tokens);
        g_free(state);
        return NULL;
}

/* Reads what add_number() wrote. */
static int member_number(JsonObject *object, const char *name, uint64_t max, uint64_t *ret) {
        const char *text = json_object_get_string_member_with_default(object, name, NULL);

        return text ? number_parse(text, 16, max, ret) : -EBADMSG;
}

static int read_file(State *state, JsonObject *object) {
        const char *path = json_object_get_string_member_with_default(object, "path", NULL);
        uint64_t inode, mode;

        if (!path || !g_str_has_prefix(path, "/sys/bus/pci/") || strstr(path, "/../") ||
            member_number(object, "inode", UINT64_MAX - 1, &inode) < 0 ||
            member_number(object, "mode", 07777, &mode) < 0)
                return -EBADMSG;

        StateFile file = { g_strdup(path), inode, (unsigned) mode };
        g_array_append_val(state->files, file);
        return 0;
}

static int member_address(JsonObject *object, PciKey *ret) {
        const char *text = json_object_get_string_member_with_default(object, "address", NULL);
        PciAddress address;

        if (!text || pci_address_parse(text, &address) < 0)
                return -EBADMSG;
        *ret = pci_address_key(address);
        return 0;
}

static int read_function(State *state, JsonObject *object) {
        StateFunction function = { 0 };

        if (member_address(object, &function.key) < 0 ||
            member_number(object, "inode", UINT64_MAX - 1, &function.inode) < 0)
                return -EBADMSG;

        function.tainted = json_object_get_boolean_member_with_default(object, "tainted", FALSE);
        function.unplugging =
                json_object_get_boolean_member_with_default(object, "unplugging", FALSE);
        function.lock_why =
                g_strdup(json_object_get_string_member_with_default(object, "lock-why", NULL));
        g_array_append_val(state->functions, function);
        return 0;
}

static int read_inhibitor(State *state, JsonObject *object) {
        const char *who = json_object_get_string_member_with_default(object, "who", NULL);
        const char *why = json_object_get_string_member_with_default(object, "why", NULL);
        const char *what = json_object_get_string_member_with_default(object, "what", NULL);
        StateInhibitor record = { 0 };
        uint64_t uid, pid;

        if (!who || !why || !what || operations_parse(what, &record.inhibitor.operations) < 0 ||
            member_address(object, &record.key) < 0 ||
            member_number(object, "number", UINT64_MAX - 1, &record.number) < 0 ||
            member_number(object, "uid", UINT32_MAX, &uid) < 0 ||
            member_number(object, "pid", UINT32_MAX, &pid) < 0)
                return -EBADMSG;

        record.inhibitor.who = g_strdup(who);
        record.inhibitor.why = g_strdup(why);
        record.inhibitor.uid = (uint32_t) uid;
        record.inhibitor.pid = (uint32_t) pid;
        g_array_append_val(state->inhibitors, record);
        return 0;
}

static int read_operation(State *state, JsonObject *object) {
        const char *what = json_object_get_string_member_with_default(object, "what", NULL);
        StateOperation record = { 0 };
        uint64_t pid;

        if (!what || member_address(object, &record.key) < 0 ||
            member_number(object, "inode", UINT64_MAX - 1, &record.inode) < 0 ||
            member_number(object, "pid", INT32_MAX, &pid) < 0 ||
            member_number(object, "start-time", UINT64_MAX - 1, &record.start_time) < 0 ||
            member_number(object, "since", UINT64_MAX - 1, &record.since_usec) < 0)
                return -EBADMSG;
        record.operation = operation_from_string(what);
        if (record.operation < 0)
                return -EBADMSG;

        record.pid = (uint32_t) pid;
        g_array_append_val(state->operations, record);
        return 0;
}

static int read_node(State *state, JsonObject *object) {
        const char *name = json_object_get_string_member_with_default(object, "name", NULL);
        uint64_t device, mode;

        if (!name || !g_str_has_prefix(name, "vfio/") || strstr(name, "..") ||
            member_number(object, "device", UINT64_MAX - 1, &device) < 0 ||
            member_number(object, "mode", 07777, &mode) < 0)
                return -EBADMSG;

        StateNode node = { g_strdup(name), device, (unsigned) mode };
        g_array_append_val(state->nodes, node);
        return 0;
}

static int read_session(State *state, JsonObject *object) {
        const char *command = json_object_get_string_member_with_default(object, "command", NULL);
        const char *unit = json_object_get_string_member_with_default(object, "unit", NULL);
        StateSession record = { 0 };
        uint64_t io_pid, uid, pid;

        if (!command || !unit || member_address(object, &record.key) < 0 ||
            member_number(object, "number", UINT64_MAX - 1, &record.number) < 0 ||
            member_number(object, "inode", UINT64_MAX - 1, &record.inode) < 0 ||
            member_number(object, "io-pid", INT32_MAX, &io_pid) < 0 ||
            member_number(object, "io-start-time", UINT64_MAX - 1, &record.io_start_time) < 0 ||
            member_number(object, "max-mapped", UINT64_MAX - 1, &record.max_mapped) < 0 ||
            member_number(object, "uid", UINT32_MAX, &uid) < 0 ||
            member_number(object, "pid", UINT32_MAX, &pid) < 0 ||
            member_number(object, "since", UINT64_MAX - 1, &record.since_usec) < 0)
                return -EBADMSG;

        record.io_pid = (uint32_t) io_pid;
        record.uid = (uint32_t) uid;
        record.pid = (uint32_t) pid;
        record.command = g_strdup(command);
        record.unit = g_strdup(unit);
        g_array_append_val(state->sessions, record);
        return 0;
}

static int read_lease(State *state, JsonObject *object) {
        const char *command = json_object_get_string_member_with_default(object, "command", NULL);
        const char *unit = json_object_get_string_member_with_default(object, "unit", NULL);
        const char *node = json_object_get_string_member_with_default(object, "node", NULL);
        const char *kind = json_object_get_string_member_with_default(object, "kind", NULL);
        StateLease record = { 0 };
        Lease *lease = &record.lease;
        uint64_t group, uid, pid;

        if (!command || !unit || !node || !kind || member_address(object, &record.key) < 0 ||
            member_number(object, "generation", UINT64_MAX - 1, &lease->generation) < 0 ||
            member_number(object, "inode", UINT64_MAX - 1, &record.inode) < 0 ||
            member_number(object, "binding", UINT64_MAX - 1, &record.binding) < 0 ||
            member_number(object, "group", INT32_MAX, &group) < 0 ||
            member_number(object, "uid", UINT32_MAX, &uid) < 0 ||
            member_number(object, "pid", UINT32_MAX, &pid) < 0 ||
            member_number(object, "since", UINT64_MAX - 1, &lease->since_usec) < 0)
                return -EBADMSG;
        lease->kind = lease_kind_from_string(kind);
        if ((int) lease->kind < 0)
                return -EBADMSG;

        record.group = (int32_t) group;
        record.node = g_strdup(node);
        lease->uid = (uint32_t) uid;
        lease->pid = (uint32_t) pid;
        lease->command = g_strdup(command);
        lease->unit = g_strdup(unit);
        g_array_append_val(state->leases, record);
        return 0;
}

static int read_vf_token(State *state, JsonObject *object) {
        StateVfToken record = { 0 };

        if (member_address(object, &record.key) < 0 ||
            member_number(object, "number", UINT64_MAX - 1, &record.number) < 0 ||
            member_number(object, "inode", UINT64_MAX - 1, &record.inode) < 0 ||
            member_number(object, "binding", UINT64_MAX - 1, &record.binding) < 0)
                return -EBADMSG;
        record.imposed = json_object_get_boolean_member_with_default(object, "imposed", FALSE);
        g_array_append_val(state->vf_tokens, record);
        return 0;
}

/* Reads the array `name`; an older version wrote none of the optional ones. */
static int read_list(State *state, JsonObject *root, const char *name, bool optional,
                     int (*read)(State *, JsonObject *)) {
        JsonNode *node = json_object_get_member(root, name);
        JsonArray *array;

        if (!node && optional)
                return 0;
        if (!node || !JSON_NODE_HOLDS_ARRAY(node))
                return -EBADMSG;
        array = json_node_get_array(node);
        for (guint i = 0; i < json_array_get_length(array); i++) {
                JsonNode *element = json_array_get_element(array, i);
                int r = JSON_NODE_HOLDS_OBJECT(element) ? read(state, json_node_get_object(element))
                                                        : -EBADMSG;
                if (r < 0)
                        return r;
        }
        return 0;
}

static int read_lists(State *state, JsonObject *root) {
        int r;

        r = read_list(state, root, "files", false, read_file);
        if (r >= 0)
                r = read_list(state, root, "functions", false, read_function);
        if (r >= 0)
                r = read_list(state, root, "inhibitors", true, read_inhibitor);
        if (r >= 0)
                r = read_list(state, root, "operations", true, read_operation);
        if (r >= 0)
                r = read_list(state, root, "nodes", true, read_node);
        if (r >= 0)
                r = read_list(state, root, "sessions", true, read_session);
        if (r >= 0)
                r = read_list(state, root, "leases", true, read_lease);
        if (r >= 0)
                r = read_list(state, root, "vf-tokens", true, read_vf_token);
        return r;
}

static int state_parse(const char *content, gssize length, State *state, char **ret_reason) {
        g_autoptr(JsonParser) parser = json_parser_new();
        g_autoptr(GError) error = NULL;
        JsonNode *root;

        if (!json_parser_load_from_data(parser, content, length, &error)) {
                *ret_reason = g_strdup(error->message);
                return -EBADMSG;
        }
        root = json_parser_get_root(parser);
        if (!root || !JSON_NODE_HOLDS_OBJECT(root) ||
            read_lists(state, json_node_get_object(root)) < 0) {
                *ret_reason = g_strdup("not of the form that this daemon writes");
                return -EBADMSG;
        }
        return 0;
}

int state_load(const char *directory, State **ret, char **ret_reason) {
        g_autofree char *path = g_build_filename(directory, STATE_NAME, NULL);
        g_autofree char *content = NULL;
        g_autoptr(State) state = state_new();
        g_autoptr(GError) error = NULL;
        gsize length;
        int r;

        if (!g_file_get_contents(path, &content, &length, &error)) {
                r = g_error_matches(error, G_FILE_ERROR, G_FILE_ERROR_NOENT) ? -ENOENT : -EIO;
                *ret_reason = g_strdup(error->message);
                *ret = g_steal_pointer(&state);
                return r;
        }

        r = state_parse(content, (gssize) length, state, ret_reason);
        if (r < 0) {
                g_autofree char *aside = g_strconcat(path, ".damaged", NULL);

                (void) rename(path, aside);
                g_clear_pointer(&state, state_free);
                state = state_new();
        }
        *ret = g_steal_pointer(&state);
        return r;
}

/* As text, in hexadecimal: JSON's numbers are doubles to many a reader, and inodes have 64 bits. */
static void add_number(JsonBuilder *builder, const char *name, uint64_t value) {
        char text[17];

        snprintf(text, sizeof(text), "%" PRIx64, value);
        json_builder_set_member_name(builder, name);
        json_builder_add_string_value(builder, text);
}

static void add_string(JsonBuilder *builder, const char *name, const char *value) {
        json_builder_set_member_name(builder, name);
        json_builder_add_string_value(builder, value);
}

static void add_address(JsonBuilder *builder, PciKey key) {
        char address[PCI_ADDRESS_STRING_MAX];

        add_string(builder, "address", pci_address_format(pci_address_from_key(key), address));
}

static void build_files(JsonBuilder *builder, const State *state) {
        json_builder_set_member_name(builder, "files");
        json_builder_begin_array(builder);
        for (guint i = 0; i < state->files->len; i++) {
                const StateFile *file = &g_array_index(state->files, StateFile, i);

                json_builder_begin_object(builder);
                add_string(builder, "path", file->path);
                add_number(builder, "inode", file->inode);
                add_number(builder, "mode", file->mode);
                json_builder_end_object(builder);
        }
        json_builder_end_array(builder);
}

static void build_functions(JsonBuilder *builder, const State *state) {
        json_builder_set_member_name(builder, "functions");
        json_builder_begin_array(builder);
        for (guint i = 0; i < state->functions->len; i++) {
                const StateFunction *function = &g_array_index(state->functions, StateFunction, i);

                json_builder_begin_object(builder);
                add_address(builder, function->key);
                add_number(builder, "inode", function->inode);
                json_builder_set_member_name(builder, "tainted");
                json_builder_add_boolean_value(builder, function->tainted);
                json_builder_set_member_name(builder, "unplugging");
                json_builder_add_boolean_value(builder, function->unplugging);
                if (function->lock_why)
                        add_string(builder, "lock-why", function->lock_why);
                json_builder_end_object(builder);
        }
        json_builder_end_array(builder);
}

static void build_inhibitors(JsonBuilder *builder, const State *state) {
        json_builder_set_member_name(builder, "inhibitors");
        json_builder_begin_array(builder);
        for (guint i = 0; i < state->inhibitors->len; i++) {
                const StateInhibitor *record = &g_array_index(state->inhibitors, StateInhibitor, i);
                g_autofree char *what = operations_format(record->inhibitor.operations);

                json_builder_begin_object(builder);
                add_number(builder, "number", record->number);
                add_address(builder, record->key);
                add_string(builder, "what", what);
                add_string(builder, "who", record->inhibitor.who);
                add_string(builder, "why", record->inhibitor.why);
                add_number(builder, "uid", record->inhibitor.uid);
                add_number(builder, "pid", record->inhibitor.pid);
                json_builder_end_object(builder);
        }
        json_builder_end_array(builder);
}

static void build_operations(JsonBuilder *builder, const State *state) {
        json_builder_set_member_name(builder, "operations");
        json_builder_begin_array(builder);
        for (guint i = 0; i < state->operations->len; i++) {
                const StateOperation *record = &g_array_index(state->operations, StateOperation, i);

                json_builder_begin_object(builder);
                add_address(builder, record->key);
                add_number(builder, "inode", record->inode);
                add_string(builder, "what", operation_to_string(record->operation));
                add_number(builder, "pid", record->pid);
                add_number(builder, "start-time", record->start_time);
                add_number(builder, "since", record->since_usec);
                json_builder_end_object(builder);
        }
        json_builder_end_array(builder);
}

static void build_nodes(JsonBuilder *builder, const State *state) {
        json_builder_set_member_name(builder, "nodes");
        json_builder_begin_array(builder);
        for (guint i = 0; i < state->nodes->len; i++) {
                const StateNode *node = &g_array_index(state->nodes, StateNode, i);

                json_builder_begin_object(builder);
                add_string(builder, "name", node->name);
                add_number(builder, "device", node->device);
                add_number(builder, "mode", node->mode);
                json_builder_end_object(builder);
        }
        json_builder_end_array(builder);
}

static void build_sessions(JsonBuilder *builder, const State *state) {
        json_builder_set_member_name(builder, "sessions");
        json_builder_begin_array(builder);
        for (guint i = 0; i < state->sessions->len; i++) {
                const StateSession *record = &g_array_index(state->sessions, StateSession, i);

                json_builder_begin_object(builder);
                add_number(builder, "number", record->number);
                add_address(builder, record->key);
                add_number(builder, "inode", record->inode);
                add_number(builder, "io-pid", record->io_pid);
                add_number(builder, "io-start-time", record->io_start_time);
                add_number(builder, "max-mapped", record->max_mapped);
                add_number(builder, "uid", record->uid);
                add_number(builder, "pid", record->pid);
                add_string(builder, "command", record->command);
                add_string(builder, "unit", record->unit);
                add_number(builder, "since", record->since_usec);
                json_builder_end_object(builder);
        }
        json_builder_end_array(builder);
}

static void build_leases(JsonBuilder *builder, const State *state) {
        json_builder_set_member_name(builder, "leases");
        json_builder_begin_array(builder);
        for (guint i = 0; i < state->leases->len; i++) {
                const StateLease *record = &g_array_index(state->leases, StateLease, i);

                json_builder_begin_object(builder);
                add_number(builder, "generation", record->lease.generation);
                add_address(builder, record->key);
                add_number(builder, "inode", record->inode);
                add_number(builder, "binding", record->binding);
                add_number(builder, "group", (uint64_t) MAX(record->group, 0));
                add_string(builder, "node", record->node);
                add_string(builder, "kind", lease_kind_to_string(record->lease.kind));
                add_number(builder, "uid", record->lease.uid);
                add_number(builder, "pid", record->lease.pid);
                add_string(builder, "command", record->lease.command);
                add_string(builder, "unit", record->lease.unit);
                add_number(builder, "since", record->lease.since_usec);
                json_builder_end_object(builder);
        }
        json_builder_end_array(builder);
}

static void build_vf_tokens(JsonBuilder *builder, const State *state) {
        json_builder_set_member_name(builder, "vf-tokens");
        json_builder_begin_array(builder);
        for (guint i = 0; i < state->vf_tokens->len; i++) {
                const StateVfToken *record = &g_array_index(state->vf_tokens, StateVfToken, i);

                json_builder_begin_object(builder);
                add_number(builder, "number", record->number);
                add_address(builder, record->key);
                add_number(builder, "inode", record->inode);
                add_number(builder, "binding", record->binding);
                json_builder_set_member_name(builder, "imposed");
                json_builder_add_boolean_value(builder, record->imposed);
                json_builder_end_object(builder);
        }
        json_builder_end_array(builder);
}

int state_save(const char *directory, const State *state) {
        g_autofree char *path = g_build_filename(directory, STATE_NAME, NULL);
        g_autoptr(JsonBuilder) builder = json_builder_new();
        g_autoptr(JsonGenerator) generator = json_generator_new();
        g_autoptr(JsonNode) root = NULL;
        g_autofree char *text = NULL;

        json_builder_begin_object(builder);
        build_files(builder, state);
        build_functions(builder, state);
        build_inhibitors(builder, state);
        build_operations(builder, state);
        build_nodes(builder, state);
        build_sessions(builder, state);
        build_leases(builder, state);
        build_vf_tokens(builder, state);
        json_builder_end_object(builder);
        root = json_builder_get_root(builder);
        json_generator_set_root(generator, root);
        text = json_generator_to_data(generator, NULL);

        /* CONSISTENT, not DURABLE: on a tmpfs a rename is all there is to it. */
        if (!g_file_set_contents_full(path, text, -1, G_FILE_SET_CONTENTS_CONSISTENT, 0600, NULL))
                return -EIO;
        return 0;
}
