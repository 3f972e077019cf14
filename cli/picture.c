#include "cli/picture.h"

#include "cli/value.h"

#include <errno.h>

static const char *string_or_empty(JsonObject *object, const char *member) {
        JsonNode *node = json_object_get_member(object, member);

        return node && json_node_get_value_type(node) == G_TYPE_STRING ? json_node_get_string(node)
                                                                       : "";
}

Picture *picture_free(Picture *picture) {
        if (!picture)
                return NULL;

        g_hash_table_unref(picture->by_address);
        g_ptr_array_unref(picture->functions);
        g_free(picture->version);
        g_free(picture->enforcement);
        g_clear_pointer(&picture->problems, json_array_unref);
        g_free(picture);
        return NULL;
}

static int check_functions(JsonArray *functions, GError **ret_error) {
        for (guint i = 0; i < json_array_get_length(functions); i++) {
                JsonNode *node = json_array_get_element(functions, i);

                if (!JSON_NODE_HOLDS_OBJECT(node) ||
                    !*string_or_empty(json_node_get_object(node), "Address")) {
                        g_set_error(ret_error, JSON_PARSER_ERROR, JSON_PARSER_ERROR_PARSE,
                                    "function %u of its list has no address", i);
                        return -EBADMSG;
                }
        }
        return 0;
}

int picture_parse(const char *document, Picture **ret, GError **ret_error) {
        g_autoptr(JsonParser) parser = json_parser_new();
        int r;

        if (!json_parser_load_from_data(parser, document, -1, ret_error))
                return -EBADMSG;

        JsonNode *root = json_parser_get_root(parser);
        JsonObject *top = root && JSON_NODE_HOLDS_OBJECT(root) ? json_node_get_object(root) : NULL;
        JsonArray *functions = top ? function_array(top, "Functions") : NULL;

        if (!functions) {
                g_set_error(ret_error, JSON_PARSER_ERROR, JSON_PARSER_ERROR_PARSE,
                            "it has no list of functions");
                return -EBADMSG;
        }
        r = check_functions(functions, ret_error);
        if (r < 0)
                return r;

        Picture *picture = g_new(Picture, 1);

        *picture = (Picture){
                .version = g_strdup(string_or_empty(top, "Version")),
                .enforcement = g_strdup(string_or_empty(top, "Enforcement")),
                .problems = function_array(top, "Problems"),
                .functions = g_ptr_array_new_with_free_func((GDestroyNotify) json_object_unref),
                .by_address = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL),
        };
        if (picture->problems)
                json_array_ref(picture->problems);
        for (guint i = 0; i < json_array_get_length(functions); i++) {
                JsonObject *function = json_array_get_object_element(functions, i);

                picture_set(picture, function_string(function, "Address"), function);
        }

        *ret = picture;
        return 0;
}

JsonObject *picture_find(const Picture *picture, const char *address) {
        return g_hash_table_lookup(picture->by_address, address);
}

void picture_set(Picture *picture, const char *address, JsonObject *function) {
        g_autoptr(JsonObject) kept = json_object_ref(function);

        picture_remove(picture, address);
        g_hash_table_insert(picture->by_address, g_strdup(address), kept);
        g_ptr_array_add(picture->functions, g_steal_pointer(&kept));
}

void picture_remove(Picture *picture, const char *address) {
        JsonObject *function = picture_find(picture, address);

        if (!function)
                return;
        g_hash_table_remove(picture->by_address, address);
        g_ptr_array_remove(picture->functions, function);
}

const char *function_string(JsonObject *function, const char *member) {
        return string_or_empty(function, member);
}

gint64 function_integer(JsonObject *function, const char *member, gint64 missing) {
        JsonNode *node = json_object_get_member(function, member);

        return node && json_node_get_value_type(node) == G_TYPE_INT64 ? json_node_get_int(node)
                                                                      : missing;
}

bool function_flag(JsonObject *function, const char *member) {
        JsonNode *node = json_object_get_member(function, member);

        return node && json_node_get_value_type(node) == G_TYPE_BOOLEAN &&
               json_node_get_boolean(node);
}

JsonArray *function_array(JsonObject *function, const char *member) {
        JsonNode *node = json_object_get_member(function, member);

        return node && JSON_NODE_HOLDS_ARRAY(node) ? json_node_get_array(node) : NULL;
}

JsonObject *function_object(JsonObject *function, const char *member) {
        JsonNode *node = json_object_get_member(function, member);

        return node && JSON_NODE_HOLDS_OBJECT(node) ? json_node_get_object(node) : NULL;
}

char *function_joined(JsonObject *function, const char *member, const char *separator) {
        JsonArray *array = function_array(function, member);
        g_autoptr(GString) joined = g_string_new(NULL);

        for (guint i = 0; array && i < json_array_get_length(array); i++) {
                g_autofree char *text = value_format(member, json_array_get_element(array, i));

                g_string_append_printf(joined, "%s%s", i > 0 ? separator : "", text);
        }
        return g_string_free(g_steal_pointer(&joined), FALSE);
}

bool function_is(JsonObject *function, const char *kind) {
        return g_str_equal(function_string(function, "Kind"), kind);
}

JsonObject *picture_parent(const Picture *picture, JsonObject *function) {
        JsonObject *parent;

        if (!function_is(function, "vf"))
                return NULL;

        parent = picture_find(picture, function_string(function, "PhysicalFunction"));
        return parent && function_is(parent, "pf") ? parent : NULL;
}

char *function_name(JsonObject *function) {
        const char *vendor = function_string(function, "VendorName");
        const char *device = function_string(function, "DeviceName");
        gint64 vendor_id = function_integer(function, "VendorId", 0xffff);
        gint64 device_id = function_integer(function, "DeviceId", 0xffff);

        if (*vendor && *device)
                return g_strdup_printf("%s %s", vendor, device);
        if (vendor_id == 0xffff || device_id == 0xffff)
                return g_strdup(*vendor ? vendor : device);
        if (*vendor)
                return g_strdup_printf("%s Device %04x", vendor, (unsigned) device_id);
        return g_strdup_printf("Vendor %04x Device %04x", (unsigned) vendor_id,
                               (unsigned) device_id);
}
