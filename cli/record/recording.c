#include "cli/record/recording.h"

#include "cli/address.h"

#include <string.h>

#define NESTED_MAX 16U

gboolean recording_accepts(const char *name) {
        static const char *const documents[] = {
                RECORDING_ABOUT,      RECORDING_PICTURE,
                RECORDING_USERS,      RECORDING_USES,
                RECORDING_INHIBITORS, RECORDING_CHECKS,
                RECORDING_COUNTERS,   RECORDING_ACTIVITY,
                RECORDING_FACTS,      NULL,
        };
        g_autofree char *address = NULL, *why = NULL;

        if (g_strv_contains(documents, name))
                return TRUE;
        return g_str_has_prefix(name, RECORDING_CONFIG) &&
               address_normalise(name + strlen(RECORDING_CONFIG), &address, &why) >= 0 &&
               g_str_equal(address, name + strlen(RECORDING_CONFIG));
}

/* --- secrets */

static gboolean is_secret(const char *member) {
        /* machine-id(5): "should be considered confidential". */
        static const char *const secrets[] = { "Command", "command",  "Serial",    "LockWhy", "Why",
                                               "why",     "Hostname", "MachineId", NULL };

        return g_strv_contains(secrets, member);
}

static void clean_member(JsonObject *object, const char *name, JsonNode *node, gpointer context) {
        if (!is_secret(name))
                recording_remove_secrets(node);
        else if (json_node_get_value_type(node) == G_TYPE_STRING)
                json_node_set_string(node, "");
}

static void clean_element(JsonArray *array, guint index, JsonNode *node, gpointer context) {
        recording_remove_secrets(node);
}

void recording_remove_secrets(JsonNode *node) {
        if (JSON_NODE_HOLDS_OBJECT(node))
                json_object_foreach_member(json_node_get_object(node), clean_member, NULL);
        else if (JSON_NODE_HOLDS_ARRAY(node))
                json_array_foreach_element(json_node_get_array(node), clean_element, NULL);
}

void recording_remove_reasons(JsonArray *blockers) {
        for (guint i = 0; i < json_array_get_length(blockers); i++) {
                JsonArray *blocker = json_array_get_array_element(blockers, i);

                json_node_set_string(json_array_get_element(blocker, 2), RECORDING_NO_REASON);
        }
}

/* PCI Express 6.0, 7.6.3: the list of extended capabilities begins at 0x100, each with its id in
 * the low 16 bits and the next one's offset in the high 12. 7.9.3: the serial number follows the
 * header of capability 3. */
#define EXTENDED_FIRST  0x100U
#define EXTENDED_SERIAL 3U
#define SERIAL_SIZE     8U

static guint32 read_le32(const guint8 *bytes) {
        return bytes[0] | (guint32) bytes[1] << 8 | (guint32) bytes[2] << 16 |
               (guint32) bytes[3] << 24;
}

void recording_remove_serial(guint8 *config, gsize size) {
        guint32 at = EXTENDED_FIRST;

        /* A list has no more capabilities than fit, so one that is a circle ends. */
        for (guint n = 0; n < 1024 && at >= EXTENDED_FIRST && at + 4 + SERIAL_SIZE <= size; n++) {
                guint32 header = read_le32(config + at);

                if ((header & 0xffff) == EXTENDED_SERIAL)
                        memset(config + at + 4, 0, SERIAL_SIZE);
                at = header >> 20 & 0xffcU;
        }
}

/* --- parsing */

static gboolean is_shallow(const char *text, gsize length) {
        guint depth = 0;
        gboolean in_string = FALSE;

        for (gsize i = 0; i < length; i++) {
                if (in_string && text[i] == '\\')
                        i++;
                else if (text[i] == '"')
                        in_string = !in_string;
                else if (!in_string && (text[i] == '{' || text[i] == '[') && ++depth > NESTED_MAX)
                        return FALSE;
                else if (!in_string && (text[i] == '}' || text[i] == ']') && depth > 0)
                        depth--;
        }
        return TRUE;
}

JsonNode *recording_parse(GBytes *bytes) {
        g_autoptr(JsonParser) parser = json_parser_new();
        gsize length;
        const char *text = g_bytes_get_data(bytes, &length);

        if (length == 0 || !g_utf8_validate(text, (gssize) length, NULL) ||
            !is_shallow(text, length) ||
            !json_parser_load_from_data(parser, text, (gssize) length, NULL))
                return NULL;
        return json_parser_steal_root(parser);
}
