#include "cli/monitor/watch.h"

#include "cli/cleanup.h"
#include "cli/client.h"
#include "cli/monitor/event.h"
#include "cli/value.h"

#include <errno.h>

void watch_init(Watch *watch, Context *context) {
        *watch = (Watch){ .context = context };
}

void watch_done(Watch *watch) {
        watch->inventory = inventory_free(watch->inventory);
}

static JsonObject *watch_find(const Watch *watch, const char *address) {
        return watch->inventory ? inventory_find(watch->inventory, address) : NULL;
}

static bool is_ours(const char *interface) {
        return g_str_has_prefix(interface, CLIENT_BUS_NAME ".");
}

static void function_added(Watch *watch, const char *address, JsonObject *function) {
        event_print(
                watch->context,
                &(Event){ .kind = EVENT_FUNCTION_ADDED, .address = address, .function = function });
        if (watch->inventory)
                inventory_set(watch->inventory, address, function);
}

static void function_removed(Watch *watch, const char *address) {
        event_print(watch->context, &(Event){ .kind = EVENT_FUNCTION_REMOVED, .address = address });
        if (watch->inventory)
                inventory_remove(watch->inventory, address);
}

/* `known` is the function as it was, or NULL; `value` NULL if all that is known is that the old one
 * no longer holds. */
static void property_changed(Watch *watch, const char *address, JsonObject *known, const char *name,
                             JsonNode *value) {
        JsonNode *old = known ? json_object_get_member(known, name) : NULL;

        if (old && value && json_node_equal(old, value)) {
                if (watch->stale)
                        return;
                old = NULL;
        }

        event_print(watch->context, &(Event){ .kind = EVENT_PROPERTY_CHANGED,
                                              .address = address,
                                              .name = name,
                                              .old = old,
                                              .new = value });
        if (known && value)
                json_object_set_member(known, name, json_node_copy(value));
        else if (known)
                json_object_remove_member(known, name);
}

static void properties_changed(Watch *watch, const char *address, JsonObject *known,
                               JsonObject *properties) {
        JsonObjectIter iterator;
        const char *name;
        JsonNode *value;

        json_object_iter_init_ordered(&iterator, properties);
        while (json_object_iter_next_ordered(&iterator, &name, &value))
                property_changed(watch, address, known, name, value);
}

/* Reads a{sa{sv}}: all properties into one object, and the names of the interfaces that are
 * ours. */
static int read_interfaces(sd_bus_message *message, JsonObject *properties, GPtrArray *interfaces) {
        int r;

        r = sd_bus_message_enter_container(message, SD_BUS_TYPE_ARRAY, "{sa{sv}}");
        if (r < 0)
                return r;
        while ((r = sd_bus_message_enter_container(message, SD_BUS_TYPE_DICT_ENTRY, "sa{sv}")) >
               0) {
                const char *interface;

                r = sd_bus_message_read(message, "s", &interface);
                if (r < 0)
                        return r;
                if (is_ours(interface)) {
                        g_ptr_array_add(interfaces, g_strdup(interface));
                        r = value_read_properties(message, properties);
                } else
                        r = sd_bus_message_skip(message, "a{sv}");
                if (r < 0)
                        return r;
                r = sd_bus_message_exit_container(message);
                if (r < 0)
                        return r;
        }
        if (r < 0)
                return r;
        return sd_bus_message_exit_container(message);
}

static bool has_function(GPtrArray *interfaces) {
        return g_ptr_array_find_with_equal_func(interfaces, CLIENT_FUNCTION, g_str_equal, NULL);
}

static void print_interfaces(Watch *watch, EventKind kind, const char *address,
                             GPtrArray *interfaces) {
        for (guint i = 0; i < interfaces->len; i++) {
                const char *name = g_ptr_array_index(interfaces, i);

                event_print(watch->context,
                            &(Event){ .kind = kind, .address = address, .name = name });
        }
}

int watch_interfaces_added(Watch *watch, sd_bus_message *message) {
        g_autoptr(GPtrArray) interfaces = g_ptr_array_new_with_free_func(g_free);
        g_autoptr(JsonObject) function = json_object_new();
        const char *path;
        int r;

        r = sd_bus_message_read(message, "o", &path);
        if (r < 0)
                return r;
        r = read_interfaces(message, function, interfaces);
        if (r < 0)
                return r;

        g_autofree char *address = value_address_from_path(path);

        if (!address || interfaces->len == 0)
                return 0;

        JsonObject *known = watch_find(watch, address);

        if (!has_function(interfaces)) {
                print_interfaces(watch, EVENT_INTERFACE_ADDED, address, interfaces);
                properties_changed(watch, address, known, function);
        } else if (known && watch->stale) /* a daemon that has started tells what it finds */
                properties_changed(watch, address, known, function);
        else
                function_added(watch, address, function);
        return 0;
}

static int read_strings(sd_bus_message *message, GPtrArray *strings) {
        const char *string;
        int r;

        r = sd_bus_message_enter_container(message, SD_BUS_TYPE_ARRAY, "s");
        if (r < 0)
                return r;
        while ((r = sd_bus_message_read(message, "s", &string)) > 0)
                g_ptr_array_add(strings, g_strdup(string));
        if (r < 0)
                return r;
        return sd_bus_message_exit_container(message);
}

int watch_interfaces_removed(Watch *watch, sd_bus_message *message) {
        g_autoptr(GPtrArray) interfaces = g_ptr_array_new_with_free_func(g_free);
        const char *path;
        int r;

        r = sd_bus_message_read(message, "o", &path);
        if (r < 0)
                return r;
        r = read_strings(message, interfaces);
        if (r < 0)
                return r;

        g_autofree char *address = value_address_from_path(path);

        if (!address)
                return 0;
        if (has_function(interfaces)) {
                function_removed(watch, address);
                return 0;
        }
        for (guint i = 0; i < interfaces->len;)
                if (is_ours(g_ptr_array_index(interfaces, i)))
                        i++;
                else
                        g_ptr_array_remove_index(interfaces, i);
        print_interfaces(watch, EVENT_INTERFACE_REMOVED, address, interfaces);
        return 0;
}

/* FunctionCount follows from the functions that were added and removed: it would be said twice. */
static void manager_changed(Watch *watch, JsonObject *properties) {
        g_autoptr(JsonObject) known = json_object_new();

        json_object_remove_member(properties, "FunctionCount");
        if (watch->inventory)
                json_object_set_string_member(known, "Enforcement", watch->inventory->enforcement);
        if (watch->inventory && watch->inventory->problems)
                json_object_set_array_member(known, "Problems",
                                             json_array_ref(watch->inventory->problems));
        properties_changed(watch, NULL, known, properties);

        if (watch->inventory && json_object_has_member(known, "Enforcement")) {
                g_free(watch->inventory->enforcement);
                watch->inventory->enforcement = g_strdup(function_string(known, "Enforcement"));
        }
        if (watch->inventory && function_array(known, "Problems")) {
                g_clear_pointer(&watch->inventory->problems, json_array_unref);
                watch->inventory->problems = json_array_ref(function_array(known, "Problems"));
        }
}

int watch_properties_changed(Watch *watch, sd_bus_message *message) {
        g_autofree char *address = value_address_from_path(sd_bus_message_get_path(message));
        g_autoptr(GPtrArray) invalidated = g_ptr_array_new_with_free_func(g_free);
        g_autoptr(JsonObject) properties = json_object_new();
        const char *interface;
        int r;

        r = sd_bus_message_read(message, "s", &interface);
        if (r < 0)
                return r;
        if (!is_ours(interface))
                return 0;
        r = value_read_properties(message, properties);
        if (r < 0)
                return r;
        r = read_strings(message, invalidated);
        if (r < 0)
                return r;

        if (!address) {
                manager_changed(watch, properties);
                return 0;
        }

        JsonObject *known = watch_find(watch, address);

        properties_changed(watch, address, known, properties);
        for (guint i = 0; i < invalidated->len; i++)
                property_changed(watch, address, known, g_ptr_array_index(invalidated, i), NULL);
        return 0;
}

int watch_violation(Watch *watch, sd_bus_message *message) {
        g_autoptr(JsonObject) details = json_object_new();
        const char *address, *operation;
        int r;

        r = sd_bus_message_read(message, "ss", &address, &operation);
        if (r < 0)
                return r;
        r = value_read_properties(message, details);
        if (r < 0)
                return r;

        event_print(watch->context, &(Event){ .kind = EVENT_VIOLATION,
                                              .address = address,
                                              .name = operation,
                                              .details = details });
        return 0;
}

int watch_unplug_requested(Watch *watch, sd_bus_message *message) {
        g_autofree char *address = value_address_from_path(sd_bus_message_get_path(message));
        uint64_t deadline_usec;
        int r;

        r = sd_bus_message_read(message, "t", &deadline_usec);
        if (r < 0)
                return r;
        if (address)
                event_print(watch->context, &(Event){ .kind = EVENT_UNPLUG_REQUESTED,
                                                      .address = address,
                                                      .deadline_usec = deadline_usec });
        return 0;
}

int watch_device_failed(Watch *watch, sd_bus_message *message) {
        g_autofree char *address = value_address_from_path(sd_bus_message_get_path(message));
        const char *error;
        int r;

        r = sd_bus_message_read(message, "s", &error);
        if (r < 0)
                return r;
        if (address)
                event_print(
                        watch->context,
                        &(Event){ .kind = EVENT_DEVICE_FAILED, .address = address, .name = error });
        return 0;
}

void watch_daemon_gone(Watch *watch) {
        event_print(watch->context, &(Event){ .kind = EVENT_DAEMON_STOPPED });
        watch->stale = true;
}

static void print_differences(Watch *watch, const Inventory *now) {
        g_autoptr(GPtrArray) before = g_ptr_array_copy(
                watch->inventory->functions, (GCopyFunc) (void (*)(void)) json_object_ref, NULL);

        g_ptr_array_set_free_func(before, (GDestroyNotify) json_object_unref);
        for (guint i = 0; i < before->len; i++) {
                const char *address = function_string(g_ptr_array_index(before, i), "Address");

                if (!inventory_find(now, address))
                        function_removed(watch, address);
        }

        for (guint i = 0; i < now->functions->len; i++) {
                JsonObject *function = g_ptr_array_index(now->functions, i);
                const char *address = function_string(function, "Address");
                JsonObject *known = watch_find(watch, address);

                if (known)
                        properties_changed(watch, address, known, function);
                else
                        function_added(watch, address, function);
        }
}

void watch_loaded(Watch *watch, Inventory *inventory) {
        event_print(watch->context, &(Event){ .kind = EVENT_WATCHING, .inventory = inventory });
        if (watch->inventory && watch->stale)
                print_differences(watch, inventory);

        inventory_free(watch->inventory);
        watch->inventory = inventory;
        watch->stale = false;
}
