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

State *state_new(void) {
        State *state = g_new(State, 1);

        state->files = g_array_new(FALSE, TRUE, sizeof(StateFile));
        g_array_set_clear_func(state->files, state_file_clear);
        state->functions = g_array_new(FALSE, TRUE, sizeof(StateFunction));
        g_array_set_clear_func(state->functions, state_function_clear);
        return state;
}

State *state_free(State *state) {
        if (!state)
                return NULL;
        g_array_unref(state->files);
        g_array_unref(state->functions);
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

static int read_function(State *state, JsonObject *object) {
        const char *text = json_object_get_string_member_with_default(object, "address", "");
        StateFunction function = { 0 };
        PciAddress address;

        if (pci_address_parse(text, &address) < 0 ||
            member_number(object, "inode", UINT64_MAX - 1, &function.inode) < 0)
                return -EBADMSG;

        function.key = pci_address_key(address);
        function.tainted = json_object_get_boolean_member_with_default(object, "tainted", FALSE);
        function.lock_why =
                g_strdup(json_object_get_string_member_with_default(object, "lock-why", NULL));
        g_array_append_val(state->functions, function);
        return 0;
}

static int read_list(State *state, JsonObject *root, const char *name,
                     int (*read)(State *, JsonObject *)) {
        JsonNode *node = json_object_get_member(root, name);
        JsonArray *array;

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
            read_list(state, json_node_get_object(root), "files", read_file) < 0 ||
            read_list(state, json_node_get_object(root), "functions", read_function) < 0) {
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
                char address[PCI_ADDRESS_STRING_MAX];

                json_builder_begin_object(builder);
                pci_address_format(pci_address_from_key(function->key), address);
                add_string(builder, "address", address);
                add_number(builder, "inode", function->inode);
                json_builder_set_member_name(builder, "tainted");
                json_builder_add_boolean_value(builder, function->tainted);
                if (function->lock_why)
                        add_string(builder, "lock-why", function->lock_why);
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
        json_builder_end_object(builder);
        root = json_builder_get_root(builder);
        json_generator_set_root(generator, root);
        text = json_generator_to_data(generator, NULL);

        /* CONSISTENT, not DURABLE: on a tmpfs a rename is all there is to it. */
        if (!g_file_set_contents_full(path, text, -1, G_FILE_SET_CONTENTS_CONSISTENT, 0600, NULL))
                return -EIO;
        return 0;
}
