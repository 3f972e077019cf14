#include "daemon/guard/records.h"

#include "daemon/usage/vfio-node.h"
#include "policy/lock.h"

#include <errno.h>
#include <string.h>

#define DEVICES_DIRECTORY "/sys/bus/pci/devices/"
#define SLOTS_DIRECTORY   "/sys/bus/pci/slots/"
#define ROOTS_PREFIX      "/sys/devices/pci"
#define NVME_DIRECTORY    "nvme/"

#define WRITE_BITS        0222U

/* --- write-protected files */

/* `nvme/nvme0/reset_controller`, of any controller. */
static bool is_nvme_file(const char *name) {
        const char *rest;

        if (!g_str_has_prefix(name, NVME_DIRECTORY))
                return false;
        rest = name + strlen(NVME_DIRECTORY);
        return rest[0] != '.' && rest[0] != '/' &&
               g_str_equal(rest + strcspn(rest, "/"), "/reset_controller");
}

static bool is_root_file(const char *path) {
        const char *rest = path + strlen(ROOTS_PREFIX);

        return g_str_equal(rest + strspn(rest, "0123456789abcdef:"), "/firmware_node/eject");
}

/* Exactly as the daemon writes it: another spelling of a path ("/./", "//") would be another file
 * to who compares them, and be opened although the file is locked. */
static bool is_function_file(const char *path) {
        const char *rest = path + strlen(DEVICES_DIRECTORY), *slash = strchr(rest, '/');
        char canonical[PCI_ADDRESS_STRING_MAX];
        g_autofree char *text = NULL;
        PciAddress address;
        LockFile file;

        if (!slash)
                return false;
        text = g_strndup(rest, (gsize) (slash - rest));
        file = lock_file_from_string(slash + 1);
        return (is_nvme_file(slash + 1) || (file >= 0 && !lock_file_is_apart(file))) &&
               pci_address_parse(text, &address) >= 0 &&
               g_str_equal(pci_address_format(address, canonical), text);
}

static bool is_slot_file(const char *path) {
        const char *rest = path + strlen(SLOTS_DIRECTORY), *slash = strchr(rest, '/');

        return slash && rest[0] != '.' && slash != rest && g_str_equal(slash, "/power");
}

static bool is_lock_file(const char *path) {
        if (g_str_has_prefix(path, DEVICES_DIRECTORY))
                return is_function_file(path);
        if (g_str_has_prefix(path, ROOTS_PREFIX))
                return is_root_file(path);
        return g_str_has_prefix(path, SLOTS_DIRECTORY) && is_slot_file(path);
}

static int read_file(StateReader *reader, JsonObject *object, void *ret) {
        const char *path = state_section_text(object, "path");
        StateFile *file = ret;

        if (!path || !is_lock_file(path) ||
            state_section_number(object, "inode", STATE_ID_MAX, &file->inode) < 0 ||
            state_section_number32(object, "mode", STATE_MODE_MAX, &file->mode) < 0 ||
            (file->mode & WRITE_BITS) == 0 || !state_section_is_new(reader, "file", path))
                return -EBADMSG;
        file->path = g_strdup(path);
        return 0;
}

static void write_file(StateWriter *writer, const void *record) {
        const StateFile *file = record;

        state_section_add_text(writer, "path", file->path);
        state_section_add_number(writer, "inode", file->inode);
        state_section_add_number(writer, "mode", file->mode);
}

static void clear_file(void *record) {
        g_free(((StateFile *) record)->path);
}

void state_file_free(gpointer file) {
        clear_file(file);
        g_free(file);
}

const StateSection protected_files_section = {
        .name = "files",
        .record_size = sizeof(StateFile),
        .required = true,
        .read = read_file,
        .write = write_file,
        .clear = clear_file,
};

/* --- inhibitors */

static bool is_new_key(const GArray *keys, PciKey key) {
        for (guint i = 0; i < keys->len; i++)
                if (g_array_index(keys, PciKey, i) == key)
                        return false;
        return true;
}

static int read_key(JsonNode *node, GArray *keys) {
        const char *text = NULL;
        PciAddress address;
        PciKey key;

        if (JSON_NODE_HOLDS_VALUE(node) && json_node_get_value_type(node) == G_TYPE_STRING)
                text = json_node_get_string(node);
        if (!text || pci_address_parse(text, &address) < 0)
                return -EBADMSG;
        key = pci_address_key(address);
        if (!is_new_key(keys, key))
                return -EBADMSG;
        g_array_append_val(keys, key);
        return 0;
}

/* One on a single function has "address", as every version wrote it; another has "addresses". */
static int read_keys(JsonObject *object, StateInhibitor *record) {
        g_autoptr(GArray) keys = g_array_new(FALSE, FALSE, sizeof(PciKey));
        const char *name = json_object_has_member(object, "addresses") ? "addresses" : "address";
        JsonNode *node = json_object_get_member(object, name);
        g_autoptr(JsonArray) array = NULL;

        if (!node)
                return -EBADMSG;
        if (JSON_NODE_HOLDS_ARRAY(node))
                array = json_array_ref(json_node_get_array(node));
        else {
                array = json_array_new();
                json_array_add_element(array, json_node_copy(node));
        }
        if (json_array_get_length(array) == 0 || json_array_get_length(array) > INHIBITORS_MAX)
                return -EBADMSG;
        for (guint i = 0; i < json_array_get_length(array); i++)
                if (read_key(json_array_get_element(array, i), keys) < 0)
                        return -EBADMSG;
        record->n_keys = keys->len;
        record->keys = g_array_steal(keys, NULL);
        return 0;
}

static void write_keys(StateWriter *writer, const StateInhibitor *record) {
        if (record->n_keys == 1) {
                state_section_add_address(writer, record->keys[0]);
                return;
        }
        state_section_begin_list(writer, "addresses");
        for (size_t i = 0; i < record->n_keys; i++) {
                char address[PCI_ADDRESS_STRING_MAX];

                state_section_add_element(
                        writer, pci_address_format(pci_address_from_key(record->keys[i]), address));
        }
        state_section_end_list(writer);
}

static int read_inhibitor(StateReader *reader, JsonObject *object, void *ret) {
        const char *who = state_section_text(object, "who");
        const char *why = state_section_text(object, "why");
        const char *what = state_section_text(object, "what");
        const char *mode = state_section_text(object, "mode"); /* of an older daemon: none */
        StateInhibitor *record = ret;
        Inhibitor *inhibitor = &record->inhibitor;

        inhibitor->mode = mode ? inhibitor_mode_from_string(mode) : INHIBITOR_MODE_BLOCK;
        if (!who || !why || !what || operations_parse(what, &inhibitor->operations) < 0 ||
            inhibitor->mode < 0 ||
            state_section_number(object, "number", STATE_COUNTER_MAX, &record->number) < 0 ||
            state_section_number32(object, "uid", UINT32_MAX, &inhibitor->uid) < 0 ||
            state_section_number32(object, "pid", UINT32_MAX, &inhibitor->pid) < 0 ||
            !state_section_is_new_number(reader, "inhibitor", record->number) ||
            read_keys(object, record) < 0)
                return -EBADMSG;
        inhibitor->who = g_strdup(who);
        inhibitor->why = g_strdup(why);
        return 0;
}

static void write_inhibitor(StateWriter *writer, const void *data) {
        const StateInhibitor *record = data;
        g_autofree char *what = operations_format(record->inhibitor.operations);

        state_section_add_number(writer, "number", record->number);
        write_keys(writer, record);
        state_section_add_text(writer, "what", what);
        state_section_add_text(writer, "mode", inhibitor_mode_to_string(record->inhibitor.mode));
        state_section_add_text(writer, "who", record->inhibitor.who);
        state_section_add_text(writer, "why", record->inhibitor.why);
        state_section_add_number(writer, "uid", record->inhibitor.uid);
        state_section_add_number(writer, "pid", record->inhibitor.pid);
}

static void clear_inhibitor(void *data) {
        StateInhibitor *record = data;

        g_free(record->keys);
        g_free(record->inhibitor.who);
        g_free(record->inhibitor.why);
}

const StateSection inhibitors_section = {
        .name = "inhibitors",
        .record_size = sizeof(StateInhibitor),
        .read = read_inhibitor,
        .write = write_inhibitor,
        .clear = clear_inhibitor,
};

/* --- operations */

static int read_operation(StateReader *reader, JsonObject *object, void *ret) {
        const char *what = state_section_text(object, "what");
        StateOperation *record = ret;

        if (!what || state_section_address(object, &record->key) < 0 ||
            state_section_number(object, "inode", STATE_ID_MAX, &record->inode) < 0 ||
            state_section_child(object, "pid", &record->pid) < 0 ||
            state_section_number(object, "start-time", STATE_COUNTER_MAX, &record->start_time) <
                    0 ||
            state_section_number(object, "since", STATE_COUNTER_MAX, &record->since_usec) < 0 ||
            !state_section_is_new_number(reader, "operation", record->pid))
                return -EBADMSG;
        record->operation = operation_from_string(what);
        return record->operation < 0 ? -EBADMSG : 0;
}

static void write_operation(StateWriter *writer, const void *data) {
        const StateOperation *record = data;

        state_section_add_address(writer, record->key);
        state_section_add_number(writer, "inode", record->inode);
        state_section_add_text(writer, "what", operation_to_string(record->operation));
        state_section_add_number(writer, "pid", record->pid);
        state_section_add_number(writer, "start-time", record->start_time);
        state_section_add_number(writer, "since", record->since_usec);
}

const StateSection operations_section = {
        .name = "operations",
        .record_size = sizeof(StateOperation),
        .read = read_operation,
        .write = write_operation,
};

/* --- device nodes */

static int read_node(StateReader *reader, JsonObject *object, void *ret) {
        const char *name = state_section_text(object, "name");
        StateNode *node = ret;

        if (!name || !g_str_has_prefix(name, "vfio/") ||
            !vfio_node_is_name(name + strlen("vfio/")) ||
            state_section_number(object, "device", STATE_ID_MAX, &node->device) < 0 ||
            state_section_number32(object, "mode", STATE_MODE_MAX, &node->mode) < 0 ||
            !state_section_is_new(reader, "node", name))
                return -EBADMSG;
        node->name = g_strdup(name);
        return 0;
}

static void write_node(StateWriter *writer, const void *record) {
        const StateNode *node = record;

        state_section_add_text(writer, "name", node->name);
        state_section_add_number(writer, "device", node->device);
        state_section_add_number(writer, "mode", node->mode);
}

static void clear_node(void *record) {
        g_free(((StateNode *) record)->name);
}

const StateSection device_nodes_section = {
        .name = "nodes",
        .record_size = sizeof(StateNode),
        .read = read_node,
        .write = write_node,
        .clear = clear_node,
};
