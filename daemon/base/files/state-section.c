#include "daemon/base/files/state-section.h"

#include "policy/number.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* The longest text of any member: an inhibitor's, a lock's, a command's. */
#define TEXT_MAX 4096

/* A number in hexadecimal, with its NUL. */
#define NUMBER_STRING_MAX 17

struct StateReader {
        GHashTable *seen; /* set of strings: what there is already */
};

bool state_section_is_new(StateReader *reader, const char *what, const char *id) {
        return g_hash_table_add(reader->seen, g_strconcat(what, "/", id, NULL));
}

bool state_section_is_new_number(StateReader *reader, const char *what, uint64_t number) {
        char id[NUMBER_STRING_MAX];

        snprintf(id, sizeof(id), "%" PRIx64, number);
        return state_section_is_new(reader, what, id);
}

/* Escapes can make what is no UTF-8 (a lone surrogate). */
const char *state_section_text(JsonObject *object, const char *name) {
        JsonNode *node = json_object_get_member(object, name);
        const char *text;

        if (!node || !JSON_NODE_HOLDS_VALUE(node) ||
            json_node_get_value_type(node) != G_TYPE_STRING)
                return NULL;
        text = json_node_get_string(node);
        return text && strlen(text) <= TEXT_MAX && g_utf8_validate(text, -1, NULL) ? text : NULL;
}

bool state_section_flag(JsonObject *object, const char *name) {
        JsonNode *node = json_object_get_member(object, name);

        return node && JSON_NODE_HOLDS_VALUE(node) &&
               json_node_get_value_type(node) == G_TYPE_BOOLEAN && json_node_get_boolean(node);
}

int state_section_number(JsonObject *object, const char *name, uint64_t max, uint64_t *ret) {
        const char *text = state_section_text(object, name);

        return text ? number_parse(text, 16, max, ret) : -EBADMSG;
}

int state_section_number32(JsonObject *object, const char *name, uint32_t max, uint32_t *ret) {
        uint64_t number;
        int r = state_section_number(object, name, max, &number);

        if (r >= 0)
                *ret = (uint32_t) number;
        return r;
}

int state_section_address(JsonObject *object, PciKey *ret) {
        const char *text = state_section_text(object, "address");
        PciAddress address;

        if (!text || pci_address_parse(text, &address) < 0)
                return -EBADMSG;
        *ret = pci_address_key(address);
        return 0;
}

/* 1 is init, and no child of anybody's. */
int state_section_child(JsonObject *object, const char *name, uint32_t *ret) {
        uint32_t pid;

        if (state_section_number32(object, name, INT32_MAX, &pid) < 0 || pid <= 1)
                return -EBADMSG;
        *ret = pid;
        return 0;
}

void state_section_add_number(JsonBuilder *builder, const char *name, uint64_t value) {
        char text[NUMBER_STRING_MAX];

        snprintf(text, sizeof(text), "%" PRIx64, value);
        state_section_add_text(builder, name, text);
}

void state_section_add_text(JsonBuilder *builder, const char *name, const char *value) {
        json_builder_set_member_name(builder, name);
        json_builder_add_string_value(builder, value);
}

void state_section_add_flag(JsonBuilder *builder, const char *name, bool value) {
        json_builder_set_member_name(builder, name);
        json_builder_add_boolean_value(builder, value);
}

void state_section_add_address(JsonBuilder *builder, PciKey key) {
        char address[PCI_ADDRESS_STRING_MAX];

        state_section_add_text(builder, "address",
                               pci_address_format(pci_address_from_key(key), address));
}

/* One entry that is wrong takes no other along. */
int state_section_read(const StateSection *section, JsonArray *array, GHashTable *seen,
                       GArray *records) {
        g_autofree void *record = g_malloc(section->record_size);
        StateReader reader = { seen };
        int left_out = 0;

        for (guint i = 0; i < json_array_get_length(array); i++) {
                JsonNode *element = json_array_get_element(array, i);

                memset(record, 0, section->record_size);
                if (JSON_NODE_HOLDS_OBJECT(element) &&
                    section->read(&reader, json_node_get_object(element), record) >= 0)
                        g_array_append_vals(records, record, 1);
                else
                        left_out++;
        }
        return left_out;
}

void state_section_write(const StateSection *section, const GArray *records, JsonBuilder *builder) {
        json_builder_set_member_name(builder, section->name);
        json_builder_begin_array(builder);
        for (guint i = 0; i < records->len; i++) {
                json_builder_begin_object(builder);
                section->write(builder, records->data + i * section->record_size);
                json_builder_end_object(builder);
        }
        json_builder_end_array(builder);
}
