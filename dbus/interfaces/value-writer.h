/* value-writer.h: the value of a property, written to a D-Bus message or as JSON.
 *
 * Owns nothing but what it has written. A property is written by one function (property.h), for
 * Get() and the signals as well as for Describe(). In JSON a function is named by its address, on
 * D-Bus by its path. */
#pragma once

#include "policy/function.h"

#include <glib.h>
#include <systemd/sd-bus.h>

/* One of the two is set. */
typedef struct ValueWriter {
        sd_bus_message *message;
        GString *json;
        bool follows; /* JSON: an element of the same array or object stands before */
} ValueWriter;

/* Each writes one value, of the D-Bus type that its name says, and returns 0 or a negative
 * errno. */
int value_write_boolean(ValueWriter *writer, bool value);
int value_write_byte(ValueWriter *writer, uint8_t value);
int value_write_uint16(ValueWriter *writer, uint16_t value);
int value_write_uint32(ValueWriter *writer, uint32_t value);
int value_write_int32(ValueWriter *writer, int32_t value);

/* NULL is written as "". */
int value_write_string(ValueWriter *writer, const char *value);

/* The function, as an object path; NULL is written as "/", and in JSON as "". */
int value_write_function(ValueWriter *writer, const Function *value);

/* Around the elements of an array; `type` is that of one element. */
int value_begin_array(ValueWriter *writer, const char *type);
int value_end_array(ValueWriter *writer);

/* JSON only: begins an object, the name and ':' of a member, and ends the object. */
void value_begin_object(ValueWriter *writer);
void value_begin_member(ValueWriter *writer, const char *name);
void value_end_object(ValueWriter *writer);
