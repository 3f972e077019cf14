#include "daemon/base/state-format.h"
#include "policy/lock.h"
#include "policy/number.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define DEVICES_DIRECTORY "/sys/bus/pci/devices/"
#define SLOTS_DIRECTORY   "/sys/bus/pci/slots/"

/* The longest text of any member: an inhibitor's, a lock's, a command's. */
#define TEXT_MAX 4096

/* Numbers that count up go on from what is read, and must not overflow. */
#define COUNTER_MAX ((uint64_t) INT64_MAX)

#define INODE_MAX   (UINT64_MAX - 1)

/* Permissions of a file or a node; a record without any is worth nothing. */
#define MODE_MAX   0777U
#define WRITE_BITS 0222U

typedef struct Reader {
        State *state;
        GHashTable *seen; /* set of strings: what there is already */
        int left_out;
} Reader;

/* Whether `what` is read for the first time. */
static bool is_new(Reader *reader, const char *what, const char *id) {
        return g_hash_table_add(reader->seen, g_strconcat(what, "/", id, NULL));
}

static bool is_new_number(Reader *reader, const char *what, uint64_t number) {
        char id[17];

        snprintf(id, sizeof(id), "%" G_GINT64_MODIFIER "x", number);
        return is_new(reader, what, id);
}

/* A text that a client may be sent: escapes can make what is no UTF-8 (a lone surrogate). NULL when
 * there is none. */
static const char *member_text(JsonObject *object, const char *name) {
        JsonNode *node = json_object_get_member(object, name);
        const char *text;

        if (!node || !JSON_NODE_HOLDS_VALUE(node) ||
            json_node_get_value_type(node) != G_TYPE_STRING)
                return NULL;
        text = json_node_get_string(node);
        return text && strlen(text) <= TEXT_MAX && g_utf8_validate(text, -1, NULL) ? text : NULL;
}

static bool member_flag(JsonObject *object, const char *name) {
        JsonNode *node = json_object_get_member(object, name);

        return node && JSON_NODE_HOLDS_VALUE(node) &&
               json_node_get_value_type(node) == G_TYPE_BOOLEAN && json_node_get_boolean(node);
}

static int member_number(JsonObject *object, const char *name, uint64_t max, uint64_t *ret) {
        const char *text = member_text(object, name);

        return text ? number_parse(text, 16, max, ret) : -EBADMSG;
}

static int member_address(JsonObject *object, PciKey *ret) {
        const char *text = member_text(object, "address");
        PciAddress address;

        if (!text || pci_address_parse(text, &address) < 0)
                return -EBADMSG;
        *ret = pci_address_key(address);
        return 0;
}

/* A process that a daemon started; 1 is init, and no child of anybody's. */
static int member_child(JsonObject *object, const char *name, uint32_t *ret) {
        uint64_t pid;

        if (member_number(object, name, INT32_MAX, &pid) < 0 || pid <= 1)
                return -EBADMSG;
        *ret = (uint32_t) pid;
        return 0;
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
        return file >= 0 && file != LOCK_FILE_SLOT_POWER &&
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
        return g_str_has_prefix(path, SLOTS_DIRECTORY) && is_slot_file(path);
}

static int read_file(Reader *reader, JsonObject *object) {
        const char *path = member_text(object, "path");
        uint64_t inode, mode;

        if (!path || !is_lock_file(path) || member_number(object, "inode", INODE_MAX, &inode) < 0 ||
            member_number(object, "mode", MODE_MAX, &mode) < 0 || (mode & WRITE_BITS) == 0 ||
            !is_new(reader, "file", path))
                return -EBADMSG;

        StateFile file = { g_strdup(path), inode, (unsigned) mode };
        g_array_append_val(reader->state->files, file);
        return 0;
}

static int read_function(Reader *reader, JsonObject *object) {
        StateFunction function = { 0 };

        if (member_address(object, &function.key) < 0 ||
            member_number(object, "inode", INODE_MAX, &function.inode) < 0 ||
            (json_object_has_member(object, "lock-why") && !member_text(object, "lock-why")) ||
            !is_new_number(reader, "function", function.key))
                return -EBADMSG;

        function.userspace_driver = member_flag(object, "userspace-driver");
        function.tainted = member_flag(object, "tainted");
        function.unplugging = member_flag(object, "unplugging");
        function.lock_why = g_strdup(member_text(object, "lock-why"));
        g_array_append_val(reader->state->functions, function);
        return 0;
}

static int read_inhibitor(Reader *reader, JsonObject *object) {
        const char *who = member_text(object, "who"), *why = member_text(object, "why");
        const char *what = member_text(object, "what");
        StateInhibitor record = { 0 };
        uint64_t uid, pid;

        if (!who || !why || !what || operations_parse(what, &record.inhibitor.operations) < 0 ||
            member_address(object, &record.key) < 0 ||
            member_number(object, "number", COUNTER_MAX, &record.number) < 0 ||
            member_number(object, "uid", UINT32_MAX, &uid) < 0 ||
            member_number(object, "pid", UINT32_MAX, &pid) < 0 ||
            !is_new_number(reader, "inhibitor", record.number))
                return -EBADMSG;

        record.inhibitor.who = g_strdup(who);
        record.inhibitor.why = g_strdup(why);
        record.inhibitor.uid = (uint32_t) uid;
        record.inhibitor.pid = (uint32_t) pid;
        g_array_append_val(reader->state->inhibitors, record);
        return 0;
}

static int read_operation(Reader *reader, JsonObject *object) {
        const char *what = member_text(object, "what");
        StateOperation record = { 0 };

        if (!what || member_address(object, &record.key) < 0 ||
            member_number(object, "inode", INODE_MAX, &record.inode) < 0 ||
            member_child(object, "pid", &record.pid) < 0 ||
            member_number(object, "start-time", COUNTER_MAX, &record.start_time) < 0 ||
            member_number(object, "since", COUNTER_MAX, &record.since_usec) < 0 ||
            !is_new_number(reader, "operation", record.pid))
                return -EBADMSG;
        record.operation = operation_from_string(what);
        if (record.operation < 0)
                return -EBADMSG;
        g_array_append_val(reader->state->operations, record);
        return 0;
}

static bool is_number(const char *text) {
        uint64_t number;

        return number_parse(text, 10, INT32_MAX, &number) >= 0;
}

/* A node below /dev/vfio: of a group, "12", or of a device, "devices/vfio3". */
static bool is_vfio_node(const char *name) {
        const char *device = "devices/vfio";

        return g_str_has_prefix(name, device) ? is_number(name + strlen(device)) : is_number(name);
}

static int read_node(Reader *reader, JsonObject *object) {
        const char *name = member_text(object, "name");
        uint64_t device, mode;

        if (!name || !g_str_has_prefix(name, "vfio/") || !is_vfio_node(name + strlen("vfio/")) ||
            member_number(object, "device", UINT64_MAX - 1, &device) < 0 ||
            member_number(object, "mode", MODE_MAX, &mode) < 0 || !is_new(reader, "node", name))
                return -EBADMSG;

        StateNode node = { g_strdup(name), device, (unsigned) mode };
        g_array_append_val(reader->state->nodes, node);
        return 0;
}

static int read_session(Reader *reader, JsonObject *object) {
        const char *command = member_text(object, "command"), *unit = member_text(object, "unit");
        StateSession record = { 0 };
        uint64_t uid, pid;

        if (!command || !unit || member_address(object, &record.key) < 0 ||
            member_number(object, "number", COUNTER_MAX, &record.number) < 0 ||
            member_number(object, "inode", INODE_MAX, &record.inode) < 0 ||
            member_child(object, "io-pid", &record.io_pid) < 0 ||
            member_number(object, "io-start-time", COUNTER_MAX, &record.io_start_time) < 0 ||
            member_number(object, "max-mapped", COUNTER_MAX, &record.max_mapped) < 0 ||
            member_number(object, "uid", UINT32_MAX, &uid) < 0 ||
            member_number(object, "pid", UINT32_MAX, &pid) < 0 ||
            member_number(object, "since", COUNTER_MAX, &record.since_usec) < 0 ||
            !is_new_number(reader, "session", record.number) ||
            !is_new_number(reader, "session-of", record.key))
                return -EBADMSG;

        record.uid = (uint32_t) uid;
        record.pid = (uint32_t) pid;
        record.command = g_strdup(command);
        record.unit = g_strdup(unit);
        g_array_append_val(reader->state->sessions, record);
        return 0;
}

static int read_lease(Reader *reader, JsonObject *object) {
        const char *command = member_text(object, "command"), *unit = member_text(object, "unit");
        const char *node = member_text(object, "node"), *kind = member_text(object, "kind");
        StateLease record = { 0 };
        Lease *lease = &record.lease;
        uint64_t group, uid, pid;

        if (!command || !unit || !node || !is_vfio_node(node) || !kind ||
            member_address(object, &record.key) < 0 ||
            member_number(object, "generation", COUNTER_MAX, &lease->generation) < 0 ||
            member_number(object, "inode", INODE_MAX, &record.inode) < 0 ||
            member_number(object, "binding", UINT64_MAX - 1, &record.binding) < 0 ||
            member_number(object, "group", INT32_MAX, &group) < 0 ||
            member_number(object, "uid", UINT32_MAX, &uid) < 0 ||
            member_number(object, "pid", UINT32_MAX, &pid) < 0 ||
            member_number(object, "since", COUNTER_MAX, &lease->since_usec) < 0)
                return -EBADMSG;
        lease->kind = lease_kind_from_string(kind);
        if ((int) lease->kind < 0 || !is_new_number(reader, "lease", lease->generation) ||
            !is_new_number(reader, "lease-of", record.key))
                return -EBADMSG;

        record.group = (int32_t) group;
        record.node = g_strdup(node);
        lease->uid = (uint32_t) uid;
        lease->pid = (uint32_t) pid;
        lease->command = g_strdup(command);
        lease->unit = g_strdup(unit);
        g_array_append_val(reader->state->leases, record);
        return 0;
}

static int read_vf_token(Reader *reader, JsonObject *object) {
        StateVfToken record = { 0 };

        if (member_address(object, &record.key) < 0 ||
            member_number(object, "number", COUNTER_MAX, &record.number) < 0 ||
            member_number(object, "inode", INODE_MAX, &record.inode) < 0 ||
            member_number(object, "binding", UINT64_MAX - 1, &record.binding) < 0 ||
            !is_new_number(reader, "vf-token", record.number) ||
            !is_new_number(reader, "vf-token-of", record.key))
                return -EBADMSG;
        record.imposed = member_flag(object, "imposed");
        g_array_append_val(reader->state->vf_tokens, record);
        return 0;
}

static const struct {
        const char *name;
        bool optional; /* an older version wrote none */
        int (*read)(Reader *reader, JsonObject *object);
} lists[] = {
        { "files", false, read_file },          { "functions", false, read_function },
        { "inhibitors", true, read_inhibitor }, { "operations", true, read_operation },
        { "nodes", true, read_node },           { "sessions", true, read_session },
        { "leases", true, read_lease },         { "vf-tokens", true, read_vf_token },
};

/* One entry that is wrong takes no other along. */
static void read_list(Reader *reader, JsonArray *array,
                      int (*read)(Reader *reader, JsonObject *object)) {
        for (guint i = 0; i < json_array_get_length(array); i++) {
                JsonNode *element = json_array_get_element(array, i);

                if (!JSON_NODE_HOLDS_OBJECT(element) ||
                    read(reader, json_node_get_object(element)) < 0)
                        reader->left_out++;
        }
}

int state_read(State *state, JsonObject *root) {
        g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        Reader reader = { state, seen, 0 };

        state->released = member_flag(root, "released");
        for (unsigned i = 0; i < G_N_ELEMENTS(lists); i++) {
                JsonNode *node = json_object_get_member(root, lists[i].name);

                if (node && JSON_NODE_HOLDS_ARRAY(node))
                        read_list(&reader, json_node_get_array(node), lists[i].read);
                else if (node)
                        reader.left_out++;
                else if (!lists[i].optional)
                        return -EBADMSG;
        }
        return reader.left_out;
}
