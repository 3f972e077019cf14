#include "cli/value.h"

#include "cli/cleanup.h"

#include <errno.h>
#include <stdbool.h>

typedef enum Form {
        FORM_ID,     /* hexadecimal; all ones could not be read */
        FORM_HEX,    /* as s390's own tools have it */
        FORM_OPTION, /* -1 is none */
} Form;

static const struct {
        const char *name;
        Form form;
        int digits;
} forms[] = {
        { "VendorId", FORM_ID, 4 },
        { "DeviceId", FORM_ID, 4 },
        { "SubsystemVendorId", FORM_ID, 4 },
        { "SubsystemDeviceId", FORM_ID, 4 },
        { "Class", FORM_ID, 6 },
        { "Revision", FORM_ID, 2 },
        { "IommuGroup", FORM_OPTION, 0 },
        { "NumaNode", FORM_OPTION, 0 },
        { "FunctionId", FORM_HEX, 8 },
        { "FunctionHandle", FORM_HEX, 8 },
        { "Uid", FORM_HEX, 4 },
        { "Pchid", FORM_HEX, 4 },
        { "FunctionGroup", FORM_HEX, 2 },
        { "FunctionType", FORM_HEX, 2 },
};

char *value_address_from_path(const char *path) {
        char *address = NULL;

        if (sd_bus_path_decode(path, "/org/vfwarden1/function", &address) <= 0)
                return NULL;

        /* sd-bus allocates with malloc(), which is what g_free() frees since GLib 2.46. */
        return address;
}

static JsonNode *node_from_string(const char *text) {
        return json_node_init_string(json_node_alloc(), text);
}

static JsonNode *node_from_integer(gint64 number) {
        return json_node_init_int(json_node_alloc(), number);
}

static JsonNode *node_from_path(const char *path) {
        g_autofree char *address = value_address_from_path(path);

        return node_from_string(address ? address : g_str_equal(path, "/") ? "" : path);
}

static int read_basic(sd_bus_message *message, char type, JsonNode **ret) {
        union {
                uint8_t y;
                int b;
                int h; /* read only to be passed over */
                int16_t n;
                uint16_t q;
                int32_t i;
                uint32_t u;
                int64_t x;
                uint64_t t;
                double d;
                const char *s;
        } basic;
        int r;

        r = sd_bus_message_read_basic(message, type, &basic);
        if (r < 0)
                return r;

        switch (type) {
        case SD_BUS_TYPE_BYTE:
                *ret = node_from_integer(basic.y);
                break;
        case SD_BUS_TYPE_BOOLEAN:
                *ret = json_node_init_boolean(json_node_alloc(), basic.b);
                break;
        case SD_BUS_TYPE_INT16:
                *ret = node_from_integer(basic.n);
                break;
        case SD_BUS_TYPE_UINT16:
                *ret = node_from_integer(basic.q);
                break;
        case SD_BUS_TYPE_INT32:
                *ret = node_from_integer(basic.i);
                break;
        case SD_BUS_TYPE_UINT32:
                *ret = node_from_integer(basic.u);
                break;
        case SD_BUS_TYPE_INT64:
                *ret = node_from_integer(basic.x);
                break;
        case SD_BUS_TYPE_UINT64:
                /* JsonNode has no unsigned integers. */
                if (basic.t <= G_MAXINT64)
                        *ret = node_from_integer((gint64) basic.t);
                else
                        *ret = json_node_init_double(json_node_alloc(), (double) basic.t);
                break;
        case SD_BUS_TYPE_DOUBLE:
                *ret = json_node_init_double(json_node_alloc(), basic.d);
                break;
        case SD_BUS_TYPE_OBJECT_PATH:
                *ret = node_from_path(basic.s);
                break;
        case SD_BUS_TYPE_STRING:
        case SD_BUS_TYPE_SIGNATURE:
                *ret = node_from_string(basic.s);
                break;
        default: /* a file descriptor means nothing outside its process */
                *ret = json_node_init_null(json_node_alloc());
        }
        return 0;
}

/* Reads the dictionary entries of the array that was entered. */
static int read_entries(sd_bus_message *message, const char *contents, JsonObject *object) {
        g_autofree char *entry = g_strndup(contents + 1, strlen(contents) - 2);
        int r;

        while ((r = sd_bus_message_enter_container(message, SD_BUS_TYPE_DICT_ENTRY, entry)) > 0) {
                g_autoptr(JsonNode) value = NULL;
                const char *key;

                if (*entry != SD_BUS_TYPE_STRING)
                        return -EBADMSG;
                r = sd_bus_message_read_basic(message, SD_BUS_TYPE_STRING, &key);
                if (r < 0)
                        return r;
                r = value_read(message, &value);
                if (r < 0)
                        return r;
                json_object_set_member(object, key, g_steal_pointer(&value));
                r = sd_bus_message_exit_container(message);
                if (r < 0)
                        return r;
        }
        return r;
}

/* Reads the elements of the array or structure that was entered. */
static int read_elements(sd_bus_message *message, JsonArray *array) {
        int r;

        while ((r = sd_bus_message_at_end(message, false)) == 0) {
                g_autoptr(JsonNode) element = NULL;

                r = value_read(message, &element);
                if (r < 0)
                        return r;
                json_array_add_element(array, g_steal_pointer(&element));
        }
        return r < 0 ? r : 0;
}

/* The depth is bounded by the bus, which takes no more than 64 containers in a message. */
int value_read(sd_bus_message *message, JsonNode **ret) {
        g_autoptr(JsonNode) node = NULL;
        const char *contents;
        char type;
        int r;

        r = sd_bus_message_peek_type(message, &type, &contents);
        if (r < 0)
                return r;
        if (r == 0)
                return -EBADMSG;
        if (!contents)
                return read_basic(message, type, ret);

        r = sd_bus_message_enter_container(message, type, contents);
        if (r < 0)
                return r;

        if (type == SD_BUS_TYPE_VARIANT)
                r = value_read(message, &node);
        else if (type == SD_BUS_TYPE_ARRAY && *contents == SD_BUS_TYPE_DICT_ENTRY_BEGIN) {
                node = json_node_init_object(json_node_alloc(), NULL);
                json_node_take_object(node, json_object_new());
                r = read_entries(message, contents, json_node_get_object(node));
        } else {
                node = json_node_new(JSON_NODE_ARRAY);
                json_node_take_array(node, json_array_new());
                r = read_elements(message, json_node_get_array(node));
        }
        if (r < 0)
                return r;

        r = sd_bus_message_exit_container(message);
        if (r < 0)
                return r;

        *ret = g_steal_pointer(&node);
        return 0;
}

int value_read_properties(sd_bus_message *message, JsonObject *object) {
        int r;

        r = sd_bus_message_enter_container(message, SD_BUS_TYPE_ARRAY, "{sv}");
        if (r < 0)
                return r;
        r = read_entries(message, "{sv}", object);
        if (r < 0)
                return r;
        return sd_bus_message_exit_container(message);
}

static char *format_integer(const char *name, gint64 number) {
        for (size_t i = 0; i < G_N_ELEMENTS(forms); i++) {
                if (!g_str_equal(forms[i].name, name))
                        continue;
                if (forms[i].form == FORM_OPTION)
                        return number < 0 ? g_strdup("none")
                                          : g_strdup_printf("%" G_GINT64_FORMAT, number);
                if (forms[i].form == FORM_ID &&
                    (number == ((gint64) 1 << (4 * forms[i].digits)) - 1 || number == G_MAXUINT32))
                        return g_strdup("unreadable");
                return g_strdup_printf("%0*" G_GINT64_MODIFIER "x", forms[i].digits, number);
        }
        return g_strdup_printf("%" G_GINT64_FORMAT, number);
}

static char *format_array(const char *name, JsonArray *array) {
        g_autoptr(GString) text = g_string_new(NULL);

        for (guint i = 0; i < json_array_get_length(array); i++) {
                g_autofree char *element = value_format(name, json_array_get_element(array, i));

                /* Sentences have an end of their own. */
                if (i > 0)
                        g_string_append(text, g_str_has_suffix(text->str, ".") ? " " : ", ");
                g_string_append(text, element);
        }
        return g_string_free(g_steal_pointer(&text), FALSE);
}

char *value_format(const char *name, JsonNode *value) {
        g_autofree char *text = NULL;

        if (JSON_NODE_HOLDS_ARRAY(value))
                text = format_array(name, json_node_get_array(value));
        else
                switch (json_node_get_value_type(value)) {
                case G_TYPE_STRING:
                        text = g_strdup(json_node_get_string(value));
                        break;
                case G_TYPE_BOOLEAN:
                        return g_strdup(json_node_get_boolean(value) ? "yes" : "no");
                case G_TYPE_INT64:
                        return format_integer(name, json_node_get_int(value));
                default: /* doubles, null and objects are rare and read well enough so */
                        return json_to_string(value, FALSE);
                }

        return *text ? g_steal_pointer(&text) : g_strdup("none");
}

char *value_format_time(gint64 usec) {
        g_autoptr(GDateTime) time =
                usec > 0 ? g_date_time_new_from_unix_local(usec / G_USEC_PER_SEC) : NULL;

        return time ? g_date_time_format(time, "%Y-%m-%d %H:%M") : NULL;
}

char *value_format_utc(gint64 usec) {
        g_autoptr(GDateTime) time = g_date_time_new_from_unix_utc(usec / G_USEC_PER_SEC);
        g_autofree char *seconds = time ? g_date_time_format(time, "%Y-%m-%dT%H:%M:%S") : NULL;

        return seconds ? g_strdup_printf("%s.%06dZ", seconds, (int) (usec % G_USEC_PER_SEC))
                       : g_strdup("");
}
