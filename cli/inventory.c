#include "cli/inventory.h"

#include "cli/value.h"

#include <errno.h>

static const char *string_or_empty(JsonObject *object, const char *member) {
        JsonNode *node = json_object_get_member(object, member);

        return node && json_node_get_value_type(node) == G_TYPE_STRING ? json_node_get_string(node)
                                                                       : "";
}

Inventory *inventory_free(Inventory *inventory) {
        if (!inventory)
                return NULL;

        g_hash_table_unref(inventory->by_address);
        g_ptr_array_unref(inventory->functions);
        g_free(inventory->version);
        g_free(inventory->enforcement);
        g_clear_pointer(&inventory->problems, json_array_unref);
        g_clear_pointer(&inventory->guards, json_array_unref);
        g_free(inventory);
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

int inventory_parse(const char *document, Inventory **ret, GError **ret_error) {
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

        Inventory *inventory = g_new(Inventory, 1);

        *inventory = (Inventory){
                .version = g_strdup(string_or_empty(top, "Version")),
                .enforcement = g_strdup(string_or_empty(top, "Enforcement")),
                .problems = function_array(top, "Problems"),
                .guards = function_array(top, "Guards"),
                .functions = g_ptr_array_new_with_free_func((GDestroyNotify) json_object_unref),
                .by_address = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL),
        };
        if (inventory->problems)
                json_array_ref(inventory->problems);
        if (inventory->guards)
                json_array_ref(inventory->guards);
        for (guint i = 0; i < json_array_get_length(functions); i++) {
                JsonObject *function = json_array_get_object_element(functions, i);

                inventory_set(inventory, function_string(function, "Address"), function);
        }

        *ret = inventory;
        return 0;
}

JsonObject *inventory_find(const Inventory *inventory, const char *address) {
        return g_hash_table_lookup(inventory->by_address, address);
}

void inventory_set(Inventory *inventory, const char *address, JsonObject *function) {
        g_autoptr(JsonObject) kept = json_object_ref(function);

        inventory_remove(inventory, address);
        g_hash_table_insert(inventory->by_address, g_strdup(address), kept);
        g_ptr_array_add(inventory->functions, g_steal_pointer(&kept));
}

void inventory_remove(Inventory *inventory, const char *address) {
        JsonObject *function = inventory_find(inventory, address);

        if (!function)
                return;
        g_hash_table_remove(inventory->by_address, address);
        g_ptr_array_remove(inventory->functions, function);
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

JsonObject *inventory_parent(const Inventory *inventory, JsonObject *function) {
        JsonObject *parent;

        if (!function_is(function, "vf"))
                return NULL;

        parent = inventory_find(inventory, function_string(function, "PhysicalFunction"));
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
