#include "cli/serve/qmp-dialog.h"

#include <json-glib/json-glib.h>

static const char *get_text(JsonObject *object, const char *name) {
        JsonNode *node = object ? json_object_get_member(object, name) : NULL;

        return node && JSON_NODE_HOLDS_VALUE(node) &&
                               json_node_get_value_type(node) == G_TYPE_STRING
                       ? json_node_get_string(node)
                       : NULL;
}

static JsonObject *get_object(JsonObject *object, const char *name) {
        JsonNode *node = json_object_get_member(object, name);

        return node && JSON_NODE_HOLDS_OBJECT(node) ? json_node_get_object(node) : NULL;
}

static char *device_del(const char *device) {
        g_autoptr(JsonBuilder) builder = json_builder_new();
        g_autoptr(JsonNode) node = NULL;
        g_autofree char *text = NULL;

        json_builder_begin_object(builder);
        json_builder_set_member_name(builder, "execute");
        json_builder_add_string_value(builder, "device_del");
        json_builder_set_member_name(builder, "arguments");
        json_builder_begin_object(builder);
        json_builder_set_member_name(builder, "id");
        json_builder_add_string_value(builder, device);
        json_builder_end_object(builder);
        json_builder_end_object(builder);
        node = json_builder_get_root(builder);
        text = json_to_string(node, FALSE);
        return g_strconcat(text, "\r\n", NULL);
}

static QmpStep dialog_fail(QmpDialog *dialog, const char *why, char **ret_words) {
        dialog->state = QMP_ENDED;
        *ret_words = g_strdup(why);
        return QMP_STEP_FAILED;
}

/* Events of other devices come at any time, and this device's before the reply to device_del. */
static QmpStep take_event(QmpDialog *dialog, const char *event, JsonObject *data,
                          char **ret_words) {
        const char *device = data ? get_text(data, "device") : NULL;

        if (!device || !g_str_equal(device, dialog->device))
                return QMP_STEP_WAIT;
        if (g_str_equal(event, "DEVICE_DELETED")) {
                dialog->state = QMP_ENDED;
                return QMP_STEP_DONE;
        }
        if (g_str_equal(event, "DEVICE_UNPLUG_GUEST_ERROR"))
                return dialog_fail(dialog, "the guest keeps the device", ret_words);
        return QMP_STEP_WAIT;
}

static QmpStep take_return(QmpDialog *dialog, char **ret_words) {
        switch (dialog->state) {
        case QMP_CAPABILITIES:
                dialog->state = QMP_DELETE;
                *ret_words = device_del(dialog->device);
                return QMP_STEP_SEND;
        case QMP_DELETE:
                dialog->state = QMP_DELETED;
                return QMP_STEP_WAIT;
        default:
                return dialog_fail(dialog, "a reply to nothing", ret_words);
        }
}

static QmpStep take_object(QmpDialog *dialog, JsonObject *object, char **ret_words) {
        const char *event = get_text(object, "event"), *why;

        if (dialog->state == QMP_GREETING) {
                if (!json_object_has_member(object, "QMP"))
                        return dialog_fail(dialog, "no greeting", ret_words);
                dialog->state = QMP_CAPABILITIES;
                *ret_words = g_strdup("{\"execute\":\"qmp_capabilities\"}\r\n");
                return QMP_STEP_SEND;
        }
        if (event)
                return take_event(dialog, event, get_object(object, "data"), ret_words);
        if (json_object_has_member(object, "error")) {
                why = get_text(get_object(object, "error"), "desc");
                return dialog_fail(dialog, why ? why : "an error without a text", ret_words);
        }
        if (json_object_has_member(object, "return"))
                return take_return(dialog, ret_words);
        return dialog_fail(dialog, "neither reply nor event", ret_words);
}

QmpStep qmp_dialog_next(QmpDialog *dialog, const char *line, char **ret_words) {
        g_autoptr(JsonParser) parser = json_parser_new();
        JsonNode *root;

        *ret_words = NULL;
        if (dialog->state == QMP_ENDED)
                return QMP_STEP_WAIT;
        if (!json_parser_load_from_data(parser, line, -1, NULL))
                return dialog_fail(dialog, "no JSON", ret_words);
        root = json_parser_get_root(parser);
        if (!root || !JSON_NODE_HOLDS_OBJECT(root))
                return dialog_fail(dialog, "no JSON object", ret_words);
        return take_object(dialog, json_node_get_object(root), ret_words);
}
