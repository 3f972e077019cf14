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

/* --- writing */

struct StateWriter {
        GString *text;
        bool first; /* of the object or the list: no comma stands before it */
};

StateWriter *state_writer_new(void) {
        StateWriter *writer = g_new(StateWriter, 1);

        *writer = (StateWriter){ g_string_new("{"), true };
        return writer;
}

char *state_writer_free(StateWriter *writer) {
        GString *text = writer->text;

        g_string_append_c(text, '}');
        g_free(writer);
        return g_string_free(text, FALSE);
}

static void begin_value(StateWriter *writer) {
        if (!writer->first)
                g_string_append_c(writer->text, ',');
        writer->first = false;
}

static void begin_member(StateWriter *writer, const char *name) {
        begin_value(writer);
        g_string_append_printf(writer->text, "\"%s\":", name);
}

/* RFC 8259, section 7. */
static void append_quoted(GString *text, const char *value) {
        g_string_append_c(text, '"');
        for (const char *p = value; *p; p++)
                if (*p == '"' || *p == '\\') {
                        g_string_append_c(text, '\\');
                        g_string_append_c(text, *p);
                } else if ((unsigned char) *p < ' ')
                        g_string_append_printf(text, "\\u%04x", (unsigned char) *p);
                else
                        g_string_append_c(text, *p);
        g_string_append_c(text, '"');
}

void state_section_add_number(StateWriter *writer, const char *name, uint64_t value) {
        char text[NUMBER_STRING_MAX];

        snprintf(text, sizeof(text), "%" PRIx64, value);
        state_section_add_text(writer, name, text);
}

void state_section_add_text(StateWriter *writer, const char *name, const char *value) {
        begin_member(writer, name);
        append_quoted(writer->text, value);
}

void state_section_add_flag(StateWriter *writer, const char *name, bool value) {
        begin_member(writer, name);
        g_string_append(writer->text, value ? "true" : "false");
}

void state_section_add_address(StateWriter *writer, PciKey key) {
        char address[PCI_ADDRESS_STRING_MAX];

        state_section_add_text(writer, "address",
                               pci_address_format(pci_address_from_key(key), address));
}

void state_section_begin_list(StateWriter *writer, const char *name) {
        begin_member(writer, name);
        g_string_append_c(writer->text, '[');
        writer->first = true;
}

void state_section_add_element(StateWriter *writer, const char *value) {
        begin_value(writer);
        append_quoted(writer->text, value);
}

void state_section_end_list(StateWriter *writer) {
        g_string_append_c(writer->text, ']');
        writer->first = false;
}

void state_section_write(const StateSection *section, const GArray *records, StateWriter *writer) {
        state_section_begin_list(writer, section->name);
        for (guint i = 0; i < records->len; i++) {
                begin_value(writer);
                g_string_append_c(writer->text, '{');
                writer->first = true;
                section->write(writer, records->data + i * section->record_size);
                g_string_append_c(writer->text, '}');
                writer->first = false;
        }
        state_section_end_list(writer);
}

/* --- reading */

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
