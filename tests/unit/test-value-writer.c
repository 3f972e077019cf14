#include "dbus/interfaces/value-writer.h"

#include <criterion/criterion.h>
#include <json-glib/json-glib.h>

/* Text of a client can be in a value (LockWhy): no byte of it ends the string or the document. */
Test(value_writer, any_text_is_a_json_string) {
        g_autoptr(GString) all = g_string_new(NULL);
        g_autoptr(GString) json = g_string_new(NULL);
        ValueWriter writer = { .json = json };
        g_autoptr(JsonParser) parser = json_parser_new();

        for (char c = 1; c > 0; c++)
                g_string_append_c(all, c);
        g_string_append(all, "\"],\\u0000 \xc3\xa9\xe2\x80\xa8");
        cr_assert_eq(value_begin_array(&writer, "s"), 0);
        cr_assert_eq(value_write_string(&writer, all->str), 0);
        cr_assert_eq(value_write_string(&writer, NULL), 0);
        cr_assert_eq(value_end_array(&writer), 0);
        cr_assert(json_parser_load_from_data(parser, json->str, -1, NULL), "%s", json->str);
        JsonArray *array = json_node_get_array(json_parser_get_root(parser));
        cr_assert_eq(json_array_get_length(array), 2);
        cr_assert_str_eq(json_array_get_string_element(array, 0), all->str);
        cr_assert_str_eq(json_array_get_string_element(array, 1), "");
}

Test(value_writer, json_of_all_types) {
        g_autoptr(GString) json = g_string_new(NULL);
        ValueWriter writer = { .json = json };
        Function function = { .facts.key = 0 };

        value_begin_object(&writer);
        value_begin_member(&writer, "none");
        value_begin_array(&writer, "o");
        value_end_array(&writer);
        value_begin_member(&writer, "b");
        value_write_boolean(&writer, true);
        value_begin_member(&writer, "numbers");
        value_begin_array(&writer, "i");
        value_write_byte(&writer, UINT8_MAX);
        value_write_uint16(&writer, UINT16_MAX);
        value_write_uint32(&writer, UINT32_MAX);
        value_write_int32(&writer, -1);
        value_end_array(&writer);
        value_begin_member(&writer, "inner");
        value_begin_object(&writer);
        value_begin_member(&writer, "o");
        value_write_function(&writer, &function);
        value_begin_member(&writer, "no");
        value_write_function(&writer, NULL);
        value_end_object(&writer);
        value_begin_member(&writer, "end");
        value_write_boolean(&writer, false);
        value_end_object(&writer);
        cr_assert_str_eq(json->str,
                         "{\"none\":[],\"b\":true,\"numbers\":[255,65535,4294967295,-1],"
                         "\"inner\":{\"o\":\"0000:00:00.0\",\"no\":\"\"},\"end\":false}");
}
