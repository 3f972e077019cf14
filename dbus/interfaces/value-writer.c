#include "dbus/interfaces/value-writer.h"

#include "dbus/path.h"

/* Makes room for the next element. */
static void json_separate(ValueWriter *writer) {
        g_assert(writer->json);
        if (writer->follows)
                g_string_append_c(writer->json, ',');
        writer->follows = true;
}

/* RFC 8259, section 7. The text is UTF-8, as on D-Bus. */
static void json_append_string(GString *json, const char *value) {
        g_string_append_c(json, '"');
        for (const char *p = value; *p; p++) {
                if (*p == '"' || *p == '\\')
                        g_string_append_c(json, '\\');
                if (g_ascii_iscntrl(*p))
                        g_string_append_printf(json, "\\u%04x", (unsigned char) *p);
                else
                        g_string_append_c(json, *p);
        }
        g_string_append_c(json, '"');
}

static int json_write_number(ValueWriter *writer, int64_t value) {
        json_separate(writer);
        g_string_append_printf(writer->json, "%lld", (long long) value);
        return 0;
}

int value_write_boolean(ValueWriter *writer, bool value) {
        if (writer->message)
                return sd_bus_message_append_basic(writer->message, 'b', &(int){ value });
        json_separate(writer);
        g_string_append(writer->json, value ? "true" : "false");
        return 0;
}

int value_write_byte(ValueWriter *writer, uint8_t value) {
        return writer->message ? sd_bus_message_append_basic(writer->message, 'y', &value)
                               : json_write_number(writer, value);
}

int value_write_uint16(ValueWriter *writer, uint16_t value) {
        return writer->message ? sd_bus_message_append_basic(writer->message, 'q', &value)
                               : json_write_number(writer, value);
}

int value_write_uint32(ValueWriter *writer, uint32_t value) {
        return writer->message ? sd_bus_message_append_basic(writer->message, 'u', &value)
                               : json_write_number(writer, value);
}

int value_write_int32(ValueWriter *writer, int32_t value) {
        return writer->message ? sd_bus_message_append_basic(writer->message, 'i', &value)
                               : json_write_number(writer, value);
}

int value_write_string(ValueWriter *writer, const char *value) {
        if (!value)
                value = "";
        if (writer->message)
                return sd_bus_message_append_basic(writer->message, 's', value);
        json_separate(writer);
        json_append_string(writer->json, value);
        return 0;
}

int value_write_function(ValueWriter *writer, const Function *value) {
        char path[FUNCTION_PATH_MAX], address[PCI_ADDRESS_STRING_MAX];

        if (writer->message)
                return sd_bus_message_append_basic(
                        writer->message, 'o',
                        value ? function_path_format(value->facts.key, path) : "/");
        return value_write_string(
                writer, value ? pci_address_format(function_address(value), address) : NULL);
}

int value_begin_array(ValueWriter *writer, const char *type) {
        if (writer->message)
                return sd_bus_message_open_container(writer->message, 'a', type);
        json_separate(writer);
        g_string_append_c(writer->json, '[');
        writer->follows = false;
        return 0;
}

int value_end_array(ValueWriter *writer) {
        if (writer->message)
                return sd_bus_message_close_container(writer->message);
        g_string_append_c(writer->json, ']');
        writer->follows = true;
        return 0;
}

void value_begin_object(ValueWriter *writer) {
        json_separate(writer);
        g_string_append_c(writer->json, '{');
        writer->follows = false;
}

void value_begin_member(ValueWriter *writer, const char *name) {
        json_separate(writer);
        json_append_string(writer->json, name);
        g_string_append_c(writer->json, ':');
        writer->follows = false;
}

void value_end_object(ValueWriter *writer) {
        g_string_append_c(writer->json, '}');
        writer->follows = true;
}
