#include "dbus/interfaces/interface-table.h"
#include "dbus/interfaces/method-table.h"
#include "dbus/method.h"
#include "dbus/path.h"

#include <criterion/criterion.h>
#include <glib.h>
#include <string.h>
#include <systemd/sd-bus-vtable.h>

/* Walks as sd-bus does: the start entry tells how large an entry is. */
static const sd_bus_vtable *next(const sd_bus_vtable *first, const sd_bus_vtable *entry) {
        return (const sd_bus_vtable *) ((const char *) entry + first->x.start.element_size);
}

#define vtable_foreach(interface, entry)                                                          \
        for (const sd_bus_vtable *entry = (interface)->vtable; entry->type != _SD_BUS_VTABLE_END; \
             entry = next((interface)->vtable, entry))

Test(method, every_method_has_a_row_and_goes_through_it) {
        unsigned n = 0;

        interface_foreach (interface)
                vtable_foreach (interface, entry) {
                        if (entry->type != _SD_BUS_VTABLE_METHOD)
                                continue;
                        n++;
                        cr_assert_not_null(method_find(interface->name, entry->x.method.member),
                                           "%s.%s has no row", interface->name,
                                           entry->x.method.member);
                        cr_assert_eq(entry->x.method.handler, method_dispatch,
                                     "%s.%s is not dispatched", interface->name,
                                     entry->x.method.member);
                }
        cr_assert_geq(n, 7);
}

/* Who may call what. A new method is added here with its action, or this fails. */
Test(method, actions) {
        static const struct {
                const char *interface, *member, *action;
        } expected[] = {
                { BUS_INTERFACE("Manager"), "GetFunction", NULL },
                { BUS_INTERFACE("Manager"), "ListFunctions", NULL },
                { BUS_INTERFACE("Manager"), "Describe", NULL },
                { BUS_INTERFACE("Manager"), "Check", NULL },
                { BUS_INTERFACE("Manager"), "ListUsers", NULL },
                { BUS_INTERFACE("Manager"), "DescribeUsers", NULL },
                { BUS_INTERFACE("Manager"), "DescribeUses", NULL },
                { BUS_INTERFACE("Manager"), "Inhibit", "org.vfwarden1.inhibit" },
                { BUS_INTERFACE("Manager"), "InhibitMany", "org.vfwarden1.inhibit" },
                { BUS_INTERFACE("Manager"), "InhibitWithOptions", "org.vfwarden1.inhibit" },
                { BUS_INTERFACE("Manager"), "ListInhibitors", NULL },
                { BUS_INTERFACE("Manager"), "DescribeInhibitors", NULL },
                { BUS_INTERFACE("Manager"), "Reload", "org.vfwarden1.configure" },
                { BUS_INTERFACE("Manager"), "ReleaseAll", "org.vfwarden1.configure" },
                { BUS_INTERFACE("Statistics"), "DescribeFunctions", NULL },
                { BUS_INTERFACE("Function"), "Lock", "org.vfwarden1.configure" },
                { BUS_INTERFACE("Function"), "Unlock", "org.vfwarden1.configure" },
                { BUS_INTERFACE("Function"), "Bind", "org.vfwarden1.configure" },
                { BUS_INTERFACE("Function"), "Unbind", "org.vfwarden1.configure" },
                { BUS_INTERFACE("Function"), "Reset", "org.vfwarden1.configure" },
                { BUS_INTERFACE("Function"), "BindWithOptions", "org.vfwarden1.configure" },
                { BUS_INTERFACE("Function"), "UnbindWithOptions", "org.vfwarden1.configure" },
                { BUS_INTERFACE("Function"), "ResetWithOptions", "org.vfwarden1.configure" },
                { BUS_INTERFACE("Function"), "Unplug", "org.vfwarden1.unplug" },
                { BUS_INTERFACE("Function"), "CancelUnplug", "org.vfwarden1.unplug" },
                { BUS_INTERFACE("Function"), "RefuseUnplug", "org.vfwarden1.inhibit" },
                { BUS_INTERFACE("Function"), "GetUnplugRequest", NULL },
                { BUS_INTERFACE("Function"), "Open", "org.vfwarden1.open-device" },
                { BUS_INTERFACE("PhysicalFunction"), "GetVfToken", "org.vfwarden1.open-device" },
                { BUS_INTERFACE("PhysicalFunction"), "SetNumVFs", "org.vfwarden1.configure" },
                { BUS_INTERFACE("PhysicalFunction"), "SetDriversAutoprobe",
                  "org.vfwarden1.configure" },
                { BUS_INTERFACE("ZpciIo"), "Load", "org.vfwarden1.zpci-io" },
                { BUS_INTERFACE("ZpciIo"), "StoreBlock", "org.vfwarden1.zpci-io" },
                { BUS_INTERFACE("ZpciIo"), "OpenSession", "org.vfwarden1.zpci-io" },
        };
        unsigned methods = 0;

        for (size_t i = 0; i < sizeof(expected) / sizeof(*expected); i++) {
                const Method *method = method_find(expected[i].interface, expected[i].member);

                cr_assert_not_null(method, "%s", expected[i].member);
                if (expected[i].action)
                        cr_assert_str_eq(method->action, expected[i].action);
                else
                        cr_assert_null(method->action, "%s", expected[i].member);
        }
        interface_foreach (interface)
                vtable_foreach (interface, entry)
                        methods += entry->type == _SD_BUS_VTABLE_METHOD;
        cr_assert_eq(methods, sizeof(expected) / sizeof(*expected));
}

/* Whose reply waits for the kernel, a holder or many files: these are counted for each user. An
 * idle process on the function ends for all of them that name one, and for those who see to it that
 * the function stays free. A method that is free to all ends nothing. */
Test(method, which_wait_and_want) {
        static const char *const waiting[] = { "Bind",
                                               "Unbind",
                                               "Reset",
                                               "Unplug",
                                               "SetNumVFs",
                                               "SetDriversAutoprobe",
                                               "Load",
                                               "StoreBlock",
                                               "OpenSession",
                                               "Open",
                                               "GetVfToken",
                                               "BindWithOptions",
                                               "UnbindWithOptions",
                                               "ResetWithOptions",
                                               "InhibitMany",
                                               "Reload",
                                               "ReleaseAll" };
        static const char *const wanting[] = { "Inhibit", "InhibitWithOptions", "Lock" };
        unsigned n = 0;

        interface_foreach (interface)
                vtable_foreach (interface, entry) {
                        const Method *method;
                        bool waits = false, wants = false, all;

                        if (entry->type != _SD_BUS_VTABLE_METHOD)
                                continue;
                        method = method_find(interface->name, entry->x.method.member);
                        for (size_t j = 0; j < sizeof(waiting) / sizeof(*waiting); j++)
                                waits |= g_str_equal(waiting[j], method->member);
                        for (size_t j = 0; j < sizeof(wanting) / sizeof(*wanting); j++)
                                wants |= g_str_equal(wanting[j], method->member);
                        cr_assert_eq(method->waits, waits, "%s", method->member);
                        cr_assert(!method->waits || method->action, "%s", method->member);
                        all = g_str_equal(method->member, "Reload") ||
                              g_str_equal(method->member, "ReleaseAll");
                        cr_assert_eq(method->wants, (waits && !all) || wants, "%s", method->member);
                        cr_assert(!method->wants || method->action, "%s", method->member);
                        cr_assert_eq(method->repeats,
                                     g_str_equal(method->member, "Load") ||
                                             g_str_equal(method->member, "StoreBlock"));
                        n += method->waits;
                }
        cr_assert_eq(n, sizeof(waiting) / sizeof(*waiting));
}

Test(method, unknown_has_no_row) {
        cr_assert_null(method_find(BUS_INTERFACE("Manager"), "Lock"));
        cr_assert_null(method_find(BUS_INTERFACE("Function"), "GetFunction"));
        cr_assert_null(method_find("org.vfwarden1", "Describe"));
}

/* Each FunctionProperty names one property of one interface. */
Test(method, properties_have_names) {
        for (FunctionProperty property = 0; property < _FUNCTION_PROPERTY_MAX; property++) {
                PropertySet set = { 0 };
                unsigned found = 0;

                property_set_add(&set, property);
                interface_foreach (interface) {
                        unsigned before = found;

                        for (const InterfaceProperty *p = interface->properties; p && p->name; p++)
                                found += interface_property_changes(p, &set);
                        cr_assert_eq(interface_has_change(interface, &set), found > before);
                }
                cr_assert_eq(found, 1, "FunctionProperty %d has %u rows", property, found);
        }
}

static const InterfaceProperty *find_row(const Interface *interface, const char *property) {
        for (const InterfaceProperty *p = interface->properties; p && p->name; p++)
                if (strcmp(p->name, property) == 0)
                        return p;
        return NULL;
}

/* A property of a function emits PropertiesChanged if, and only if, its row names what changes. The
 * vtable says to sd-bus what the row says to Describe() and the signals. */
Test(method, properties_that_change_have_rows) {
        unsigned in_vtables = 0, rows = 0;

        interface_foreach (interface) {
                if (interface->path)
                        continue;
                for (const InterfaceProperty *p = interface->properties; p->name; p++)
                        rows++;
                vtable_foreach (interface, entry) {
                        const char *name = entry->x.property.member;
                        const InterfaceProperty *row;

                        if (entry->type != _SD_BUS_VTABLE_PROPERTY)
                                continue;
                        in_vtables++;
                        row = find_row(interface, name);
                        cr_assert_not_null(row, "%s.%s", interface->name, name);
                        cr_assert_str_eq(row->type, entry->x.property.signature);
                        cr_assert_eq(row->changes < _FUNCTION_PROPERTY_MAX,
                                     !!(entry->flags & SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
                                     "%s.%s", interface->name, name);
                        cr_assert_eq(row->changes == PROPERTY_CONSTANT,
                                     !!(entry->flags & SD_BUS_VTABLE_PROPERTY_CONST), "%s.%s",
                                     interface->name, name);
                }
        }
        cr_assert_eq(in_vtables, rows, "%u properties, %u rows", in_vtables, rows);
}

/* Every interface whose XML is installed is in the table, and the other way round. */
Test(method, every_interface_has_its_xml) {
        g_autoptr(GDir) folder = g_dir_open(g_getenv("VFWARDEN_DBUS_XML"), 0, NULL);
        unsigned files = 0, rows = 0;
        const char *file;

        cr_assert_not_null(folder);
        while ((file = g_dir_read_name(folder))) {
                g_autofree char *name = g_strndup(file, strlen(file) - strlen(".xml"));

                if (!g_str_has_suffix(file, ".xml"))
                        continue;
                files++;
                cr_assert_not_null(interface_find(name), "%s is not in the table", name);
        }
        interface_foreach (interface)
                rows += g_str_has_prefix(interface->name, BUS_INTERFACE(""));
        cr_assert_eq(files, rows, "%u files, %u interfaces", files, rows);
}
