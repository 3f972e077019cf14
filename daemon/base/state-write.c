#include "daemon/base/state-format.h"

#include <inttypes.h>
#include <stdio.h>

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
                json_builder_set_member_name(builder, "userspace-driver");
                json_builder_add_boolean_value(builder, function->userspace_driver);
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

static void build_enforcement(JsonBuilder *builder, const State *state) {
        json_builder_set_member_name(builder, "released");
        json_builder_add_boolean_value(builder, state->released);
}

char *state_write(const State *state) {
        g_autoptr(JsonBuilder) builder = json_builder_new();
        g_autoptr(JsonGenerator) generator = json_generator_new();
        g_autoptr(JsonNode) root = NULL;

        json_builder_begin_object(builder);
        build_enforcement(builder, state);
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
        return json_generator_to_data(generator, NULL);
}
