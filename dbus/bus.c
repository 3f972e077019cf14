#include "dbus/bus.h"

#include "daemon/base/log.h"
#include "dbus/admission.h"
#include "dbus/answers.h"
#include "dbus/authority.h"
#include "dbus/clients.h"
#include "dbus/function-signals.h"
#include "dbus/interfaces/interface-table.h"
#include "dbus/interfaces/interface.h"
#include "dbus/interfaces/method-table.h"
#include "dbus/path.h"
#include "dbus/quota.h"
#include "dbus/request-log.h"
#include "dbus/senders.h"
#include "dbus/sleep-inhibitor.h"
#include "lib/addressed-signals.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#define NAME_TIMEOUT_USEC  (2 * 1000 * 1000ULL)
#define NAME_INTERVAL_USEC (20 * 1000ULL)

static int bus_find_function(sd_bus *connection, const char *path, const char *interface,
                             void *userdata, void **ret_found, sd_bus_error *error) {
        const Bus *bus = userdata;
        const Interface *row = interface_find(interface);
        Function *function;
        PciKey key;

        if (!row || function_path_parse(path, &key) < 0)
                return 0;
        function = inventory_get(manager_inventory(bus->manager), key);
        if (!function || !interface_on_function(row, function))
                return 0;
        *ret_found = function;
        return 1;
}

static int enumerate_functions(sd_bus *connection, const char *prefix, void *userdata,
                               char ***ret_nodes, sd_bus_error *error) {
        const Bus *bus = userdata;
        const Inventory *inventory = manager_inventory(bus->manager);
        char **nodes;
        Function *function;
        unsigned n = 0;

        /* sd-bus asks at Introspect() of each single function, too, which has no nodes below it. */
        if (strlen(prefix) > strlen(BUS_FUNCTION_PREFIX))
                return 0;
        nodes = g_new0(char *, inventory_count(inventory) + 1);
        /* GLib's allocator is malloc(): sd-bus frees these with free(). */
        inventory_foreach (inventory, function) {
                char path[FUNCTION_PATH_MAX];

                nodes[n++] = g_strdup(function_path_format(function->facts.key, path));
        }
        *ret_nodes = nodes;
        return 0;
}

static int add_interface(Bus *bus, const Interface *interface) {
        if (interface->path)
                return sd_bus_add_object_vtable(bus->connection, NULL, interface->path,
                                                interface->name, interface->vtable, bus);
        return sd_bus_add_fallback_vtable(bus->connection, NULL, BUS_FUNCTION_PREFIX,
                                          interface->name, interface->vtable, bus_find_function,
                                          bus);
}

static int add_objects(Bus *bus) {
        int r;

        interface_foreach (interface) {
                r = add_interface(bus, interface);
                if (r < 0)
                        return r;
        }
        r = sd_bus_add_node_enumerator(bus->connection, NULL, BUS_FUNCTION_PREFIX,
                                       enumerate_functions, bus);
        if (r >= 0)
                r = sd_bus_add_object_manager(bus->connection, NULL, BUS_ROOT);
        if (r >= 0)
                r = log_control_take_calls(bus);
        return r;
}

/* A signal that cannot be sent is lost memory or a lost bus; the second ends the daemon by
 * itself. */
static void check_sent(int r) {
        if (r < 0)
                log_error("a signal cannot be sent: %s", g_strerror(-r));
}

static unsigned shown_as(const Bus *bus, const Function *function) {
        return GPOINTER_TO_UINT(g_hash_table_lookup(bus->shown, &function->facts.key));
}

static void show(const Bus *bus, const Function *function) {
        PciKey *key = g_memdup2(&function->facts.key, sizeof(*key));

        g_hash_table_replace(bus->shown, key, GUINT_TO_POINTER(interfaces_on_function(function)));
}

static void on_added(void *context, Function *function) {
        const Bus *bus = context;

        answers_note_change(bus->answers, function, 0);
        show(bus, function);
        sleep_inhibitor_note(bus->sleep, function);
        check_sent(function_signal_added(bus->connection, NULL, function, shown_as(bus, function),
                                         OBJECT_SCOPE_WHOLE));
}

static void on_bus_removed(void *context, Function *function) {
        const Bus *bus = context;
        unsigned before = shown_as(bus, function);

        answers_note_change(bus->answers, function, before);
        g_hash_table_remove(bus->shown, &function->facts.key);
        sleep_inhibitor_forget(bus->sleep, function);
        check_sent(function_signal_removed(bus->connection, NULL, function->facts.key, before,
                                           OBJECT_SCOPE_WHOLE));
}

static void on_bus_changed(void *context, Function *function, const PropertySet *properties) {
        const Bus *bus = context;
        unsigned before = shown_as(bus, function), now = interfaces_on_function(function);

        answers_note_change(bus->answers, function, before);
        show(bus, function);
        sleep_inhibitor_note(bus->sleep, function);
        interface_foreach (interface) {
                unsigned bit = interface_bit(interface);
                int r = 0;

                if (before & now & bit)
                        r = function_signal_changed(bus->connection, NULL, function, interface,
                                                    properties);
                else if (now & ~before & bit)
                        r = function_signal_added(bus->connection, NULL, function, bit,
                                                  OBJECT_SCOPE_INTERFACES);
                else if (before & ~now & bit)
                        r = function_signal_removed(bus->connection, NULL, function->facts.key, bit,
                                                    OBJECT_SCOPE_INTERFACES);
                check_sent(r);
        }
}

static int bus_append_details(sd_bus_message *signal, const Violation *violation) {
        int r = sd_bus_message_open_container(signal, 'a', "{sv}");

        if (r >= 0 && violation->file)
                r = sd_bus_message_append(signal, "{sv}{sv}", "file", "s", violation->file, "mode",
                                          "u", violation->mode);
        else if (r >= 0)
                r = sd_bus_message_append(signal, "{sv}{sv}", "num-vfs-before", "q",
                                          violation->num_vfs_before, "num-vfs", "q",
                                          violation->num_vfs);
        if (r >= 0 && violation->author.pid != 0)
                r = sd_bus_message_append(signal, "{sv}{sv}{sv}{sv}", "pid", "u",
                                          violation->author.pid, "uid", "u", violation->author.uid,
                                          "command", "s", violation->author.command, "unit", "s",
                                          violation->author.unit);
        if (r >= 0 && violation->count > 1)
                r = sd_bus_message_append(signal, "{sv}", "count", "u", violation->count);
        if (r >= 0)
                r = sd_bus_message_open_container(signal, 'e', "sv");
        if (r >= 0)
                r = sd_bus_message_append(signal, "s", "reasons");
        if (r >= 0)
                r = sd_bus_message_open_container(signal, 'v', "as");
        if (r >= 0)
                r = write_lock_reasons(&(ValueWriter){ .message = signal }, violation->reasons);
        for (unsigned i = 0; r >= 0 && i < 3; i++)
                r = sd_bus_message_close_container(signal);
        return r;
}

static void on_violation(void *context, const Violation *violation) {
        const Bus *bus = context;
        char address[PCI_ADDRESS_STRING_MAX];
        sd_bus_message *signal = NULL;
        int r;

        r = sd_bus_message_new_signal(bus->connection, &signal, BUS_ROOT, BUS_INTERFACE("Manager"),
                                      "Violation");
        if (r >= 0)
                r = sd_bus_message_append(
                        signal, "ss",
                        pci_address_format(pci_address_from_key(violation->key), address),
                        violation->operation);
        if (r >= 0)
                r = bus_append_details(signal, violation);
        if (r >= 0)
                r = sd_bus_send(bus->connection, signal, NULL);
        sd_bus_message_unref(signal);
        check_sent(r);
}

static void on_unplug_requested(void *context, Function *function, uint64_t deadline_usec) {
        const Bus *bus = context;
        char path[FUNCTION_PATH_MAX];

        check_sent(sd_bus_emit_signal(
                bus->connection, function_path_format(function->facts.key, path),
                BUS_INTERFACE("Function"), "UnplugRequested", "t", deadline_usec));
}

static void on_device_failed(void *context, Function *function, const char *event) {
        const Bus *bus = context;
        char path[FUNCTION_PATH_MAX];

        check_sent(sd_bus_emit_signal(bus->connection,
                                      function_path_format(function->facts.key, path),
                                      BUS_INTERFACE("Function"), "DeviceFailed", "s", event));
}

static void manager_property_changed(const Bus *bus, const char *property) {
        answers_note_change(bus->answers, NULL, 0);
        check_sent(sd_bus_emit_properties_changed(bus->connection, BUS_ROOT,
                                                  BUS_INTERFACE("Manager"), property, NULL));
}

static void on_count_changed(void *context) {
        manager_property_changed(context, "FunctionCount");
}

static void on_enforcement_changed(void *context) {
        manager_property_changed(context, "Enforcement");
}

static void on_settings_changed(void *context) {
        const Bus *bus = context;

        sleep_inhibitor_update(bus->sleep);
}

static void on_bus_problems_changed(void *context) {
        manager_property_changed(context, "Problems");
}

static void on_guards_changed(void *context) {
        manager_property_changed(context, "Guards");
}

static const ManagerObserver bus_observer = {
        .added = on_added,
        .removed = on_bus_removed,
        .changed = on_bus_changed,
        .violation = on_violation,
        .unplug_requested = on_unplug_requested,
        .device_failed = on_device_failed,
        .count_changed = on_count_changed,
        .enforcement_changed = on_enforcement_changed,
        .settings_changed = on_settings_changed,
        .problems_changed = on_bus_problems_changed,
        .guards_changed = on_guards_changed,
};

/* Takes the name, for which it waits a moment: the bus may not have noticed yet that a daemon
 * before this one has died. Returns 0 or a negative errno, -EEXIST when another daemon runs. */
static int take_name(sd_bus *connection) {
        uint64_t deadline = (uint64_t) g_get_monotonic_time() + NAME_TIMEOUT_USEC;
        int r;

        while ((r = sd_bus_request_name(connection, BUS_NAME, 0)) == -EEXIST &&
               (uint64_t) g_get_monotonic_time() < deadline) {
                r = sd_bus_process(connection, NULL);
                if (r == 0)
                        r = sd_bus_wait(connection, NAME_INTERVAL_USEC);
                if (r < 0)
                        return r;
        }
        return r < 0 ? r : 0;
}

static int bus_open(sd_bus **ret) {
        int r = sd_bus_open_system(ret);

        return r < 0 ? r : addressed_signals_drop(*ret);
}

int bus_new(Bus **ret) {
        g_autoptr(Bus) bus = g_new0(Bus, 1);
        int r;

        r = bus_open(&bus->connection);
        if (r < 0) {
                log_error("there is no system bus: %s", g_strerror(-r));
                return r;
        }
        r = take_name(bus->connection);
        if (r < 0) {
                log_error("Failed to acquire the bus name %s: %s", BUS_NAME, g_strerror(-r));
                return r;
        }
        r = bus_open(&bus->questions);
        if (r >= 0)
                r = senders_new(bus->connection, bus->questions, &bus->senders);
        if (r < 0) {
                log_error("Failed to subscribe to departures from the bus: %s", g_strerror(-r));
                return r;
        }
        bus->shown = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
        bus->clients = clients_new(bus->connection);
        bus->answers = answers_new(bus);
        bus->authority = authority_new(bus);
        bus->find_method = method_find;
        bus->requests = request_log_new();
        bus->waiting = quota_new(QUOTA_PER_UID_MAX, UINT_MAX);
        *ret = g_steal_pointer(&bus);
        return 0;
}

static int bus_attach(sd_bus *connection, sd_event *event, int priority) {
        int r = sd_bus_attach_event(connection, event, priority);

        /* Without the bus there are no users; systemd starts the daemon again, the locks stay. */
        return r < 0 ? r : sd_bus_set_exit_on_disconnect(connection, true);
}

int bus_serve(Bus *bus, sd_event *event, Manager *manager) {
        Function *function;
        int r;

        bus->manager = manager;
        r = admission_new(bus, event, &bus->admission);
        if (r >= 0)
                r = answers_attach(bus->answers, event);
        if (r >= 0)
                r = add_objects(bus);
        if (r >= 0)
                r = sleep_inhibitor_new(bus, &bus->sleep);
        if (r >= 0)
                r = bus_attach(bus->connection, event, SD_EVENT_PRIORITY_NORMAL);
        if (r >= 0)
                r = bus_attach(bus->questions, event, SD_EVENT_PRIORITY_NORMAL - 1);
        if (r < 0) {
                log_error("the objects cannot be exported: %s", g_strerror(-r));
                return r;
        }
        /* Clients that ask from now on see this. */
        inventory_foreach (manager_inventory(manager), function) {
                show(bus, function);
                sleep_inhibitor_note(bus->sleep, function);
        }
        manager_set_observer(manager, &bus_observer, bus);
        return 0;
}

Bus *bus_free(Bus *bus) {
        if (!bus)
                return NULL;
        if (bus->manager)
                manager_set_observer(bus->manager, NULL, NULL);
        admission_free(bus->admission);
        sleep_inhibitor_free(bus->sleep);
        authority_free(bus->authority);
        senders_free(bus->senders);
        request_log_unref(bus->requests);
        answers_free(bus->answers);
        if (bus->clients)
                clients_close(bus->clients);
        clients_unref(bus->clients);
        g_clear_pointer(&bus->shown, g_hash_table_unref);
        quota_unref(bus->waiting);
        sd_bus_flush_close_unref(bus->questions);
        sd_bus_flush_close_unref(bus->connection);
        g_free(bus);
        return NULL;
}
