/* json-members.h: members of the object that a JsonBuilder is in. */
#pragma once

#include <json-glib/json-glib.h>
#include <stdbool.h>
#include <stdint.h>

static inline void add_string(JsonBuilder *builder, const char *name, const char *value) {
        json_builder_set_member_name(builder, name);
        json_builder_add_string_value(builder, value);
}

static inline void add_number(JsonBuilder *builder, const char *name, int64_t value) {
        json_builder_set_member_name(builder, name);
        json_builder_add_int_value(builder, value);
}

static inline void add_boolean(JsonBuilder *builder, const char *name, bool value) {
        json_builder_set_member_name(builder, name);
        json_builder_add_boolean_value(builder, value);
}
