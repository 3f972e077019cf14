#include "cli/function/page.h"

#include "cli/holders.h"
#include "cli/output/table.h"
#include "cli/output/words.h"
#include "cli/value.h"

/* Members that have a label of their own; what else a later daemon tells is shown by its name. */
static const char *const labelled[] = {
        "Address",
        "Kind",
        "VendorId",
        "DeviceId",
        "VendorName",
        "DeviceName",
        "SubsystemVendorId",
        "SubsystemDeviceId",
        "Class",
        "Revision",
        "Driver",
        "DriverOverride",
        "IommuGroup",
        "NumaNode",
        "Parent",
        "Children",
        "Slot",
        "Interfaces",
        "BlockDevices",
        "LinkSpeed",
        "LinkWidth",
        "Serial",
        "CommandMemory",
        "InUse",
        "Uses",
        "Locked",
        "LockReasons",
        "LockWhy",
        "ClosedFiles",
        "UserspaceDriver",
        "Tainted",
        "State",
        "TotalVFs",
        "NumVFs",
        "DriversAutoprobe",
        "VirtualFunctions",
        "PhysicalFunction",
        "Index",
        "Msix",
        "ZpciIo",
        "Pasid",
        "Users",
        "Operation",
        "FunctionId",
        "FunctionHandle",
        "Uid",
        "Pchid",
        "FunctionGroup",
        "VirtualFunctionNumber",
        "FunctionType",
        "MioEnabled",
        NULL,
};

static void show_add(Table *table, const char *label, Style style, const char *text) {
        g_autofree char *heading = *label ? g_strdup_printf("%s:", label) : g_strdup("");

        table_add(table, STYLE_PLAIN, heading);
        table_add(table, style, text);
}

/* A member as it is; "unknown" if this daemon does not tell it. */
static char *format(JsonObject *function, const char *member) {
        JsonNode *value = json_object_get_member(function, member);

        return value ? value_format(member, value) : g_strdup("unknown");
}

static void add_member(Table *table, const char *label, JsonObject *function, const char *member) {
        g_autofree char *text = format(function, member);

        show_add(table, label, STYLE_PLAIN, text);
}

/* Two numbers, with the name in front of them where pci.ids has one. */
static void add_id(Table *table, const char *label, JsonObject *function, const char *name,
                   const char *member) {
        g_autofree char *id = format(function, member);
        const char *words = function_string(function, name);
        g_autofree char *text = *words ? g_strdup_printf("%s [%s]", words, id) : g_strdup(id);

        show_add(table, label, STYLE_PLAIN, text);
}

/* Two values that belong together; they are one where both are unreadable. */
static char *join(const char *a, const char *between, const char *b) {
        return g_str_equal(a, b) && g_str_equal(a, "unreadable") ? g_strdup(a)
                                                                 : g_strconcat(a, between, b, NULL);
}

static void add_identity(Table *table, JsonObject *function) {
        const char *kind = function_string(function, "Kind"),
                   *consequence = words_for_consequence(kind);
        g_autofree char *vendor = format(function, "SubsystemVendorId");
        g_autofree char *device = format(function, "SubsystemDeviceId");
        g_autofree char *subsystem = join(vendor, ":", device);
        g_autofree char *class = format(function, "Class");
        g_autofree char *revision = format(function, "Revision");
        g_autofree char *class_and_revision = join(class, ", revision ", revision);

        show_add(table, "Kind", STYLE_PLAIN, words_for_kind(kind));
        if (consequence)
                show_add(table, "", STYLE_PLAIN, consequence);
        add_id(table, "Vendor", function, "VendorName", "VendorId");
        add_id(table, "Device", function, "DeviceName", "DeviceId");
        show_add(table, "Subsystem", STYLE_PLAIN, subsystem);
        show_add(table, "Class", STYLE_PLAIN, class_and_revision);
}

/* Each string of an array member on a line of its own. */
static void add_lines(Table *table, const char *label, JsonObject *function, const char *member) {
        JsonArray *array = function_array(function, member);
        guint n = array ? json_array_get_length(array) : 0;

        if (n == 0)
                show_add(table, label, STYLE_PLAIN, array ? "none" : "unknown");
        for (guint i = 0; i < n; i++) {
                g_autofree char *text = value_format(member, json_array_get_element(array, i));

                show_add(table, i == 0 ? label : "", STYLE_PLAIN, text);
        }
}

static bool has_elements(JsonObject *function, const char *member) {
        JsonArray *array = function_array(function, member);

        return array && json_array_get_length(array) > 0;
}

/* "8 GT/s, 4 lanes"; nothing where there is no link, or it is not known. */
static void add_link(Table *table, JsonObject *function) {
        gint64 speed = function_integer(function, "LinkSpeed", 0);
        gint64 width = function_integer(function, "LinkWidth", 0);
        g_autofree char *text = NULL;

        if (width == 0)
                return;
        text = g_strdup_printf("%" G_GINT64_FORMAT "%s GT/s, %" G_GINT64_FORMAT " lane%s",
                               speed / 1000, speed % 1000 == 500 ? ".5" : "", width,
                               width == 1 ? "" : "s");
        show_add(table, "Link", STYLE_PLAIN, text);
}

static void add_place(Table *table, JsonObject *function) {
        const char *memory = function_string(function, "CommandMemory");

        add_member(table, "Driver", function, "Driver");
        add_member(table, "Driver override", function, "DriverOverride");
        add_member(table, "IOMMU group", function, "IommuGroup");
        add_member(table, "NUMA node", function, "NumaNode");
        if (*function_string(function, "Slot"))
                add_member(table, "Slot", function, "Slot");
        if (has_elements(function, "Interfaces"))
                add_lines(table, "Network interfaces", function, "Interfaces");
        if (has_elements(function, "BlockDevices"))
                add_lines(table, "Block devices", function, "BlockDevices");
        if (*function_string(function, "Parent"))
                add_member(table, "Parent", function, "Parent");
        if (has_elements(function, "Children"))
                add_lines(table, "Children", function, "Children");
        add_link(table, function);
        if (*function_string(function, "Serial"))
                add_member(table, "Serial number", function, "Serial");
        show_add(table, "Memory enable bit", STYLE_PLAIN,
                 *memory ? words_for_command_memory(memory) : "unknown");
}

static void add_sriov(Table *table, JsonObject *function) {
        if (function_is(function, "pf")) {
                g_autofree char *count = format(function, "NumVFs");
                g_autofree char *total = format(function, "TotalVFs");
                g_autofree char *autoprobe = format(function, "DriversAutoprobe");
                g_autofree char *text = g_strdup_printf("%s of %s", count, total);

                show_add(table, "Number of VFs", STYLE_PLAIN, text);
                show_add(table, "VF drivers autoprobe", STYLE_PLAIN, autoprobe);
                add_lines(table, "Virtual functions", function, "VirtualFunctions");
        } else if (function_is(function, "vf")) {
                add_member(table, "Physical function", function, "PhysicalFunction");
                add_member(table, "VF index", function, "Index");
        } else if (function_is(function, "detached-vf"))
                add_member(table, "VF number", function, "VirtualFunctionNumber");
}

/* What s390 tells. */
static void add_zpci(Table *table, JsonObject *function) {
        g_autofree char *id = format(function, "FunctionId"), *uid = format(function, "Uid"),
                        *channel = format(function, "Pchid"),
                        *group = format(function, "FunctionGroup"),
                        *type = format(function, "FunctionType"), *text = NULL;

        if (!json_object_has_member(function, "FunctionId"))
                return;
        text = g_strdup_printf("id %s, UID %s, channel %s, group %s, type %s", id, uid, channel,
                               group, type);
        show_add(table, "zPCI function", STYLE_PLAIN, text);
        add_member(table, "zPCI handle", function, "FunctionHandle");
        add_member(table, "zPCI MIO enabled", function, "MioEnabled");
}

/* Nothing where no back end can serve it. */
static void add_zpci_io(Table *table, JsonObject *function) {
        JsonObject *io = function_object(function, "ZpciIo");
        const char *backend = io ? function_string(io, "Backend") : "";
        gint64 max = io ? function_integer(io, "MaxStoreBlock", 0) : 0;
        g_autofree char *text = NULL;

        if (!*backend)
                return;
        if (max > 0)
                text = g_strdup_printf("%s, stores of at most %" G_GINT64_FORMAT " bytes", backend,
                                       max);
        show_add(table, "I/O sessions", STYLE_PLAIN, text ? text : backend);
}

/* Nothing where there is no MSI-X, or it is not known. */
static void add_msix(Table *table, JsonObject *function) {
        JsonObject *msix = function_object(function, "Msix");

        if (!msix)
                return;

        bool mappable = function_flag(msix, "TableMappable");
        g_autofree char *place = g_strdup_printf(
                "%" G_GINT64_FORMAT " vectors, table in BAR %" G_GINT64_FORMAT
                " at 0x%" G_GINT64_MODIFIER "x, pending bits in BAR %" G_GINT64_FORMAT
                " at 0x%" G_GINT64_MODIFIER "x",
                function_integer(msix, "Vectors", 0), function_integer(msix, "TableBar", 0),
                function_integer(msix, "TableOffset", 0), function_integer(msix, "PbaBar", 0),
                function_integer(msix, "PbaOffset", 0));
        const char *isolation = function_string(msix, "Isolation");

        show_add(table, "MSI-X", STYLE_PLAIN, place);
        show_add(table, "MSI isolation", mappable ? STYLE_GREEN : STYLE_YELLOW,
                 words_for_isolation(isolation));
        add_member(table, "", msix, "Reason");
        show_add(table, "MSI-X table", STYLE_PLAIN,
                 mappable ? "may be mapped into a guest" : "must not be mapped into a guest");
        add_lines(table, "MSI evidence", msix, "Evidence");
}

/* Each holder on a line of its own; nothing if there is none. */
static void add_holders(Table *table, const char *label, JsonArray *holders,
                        char *(*describe)(JsonObject *holder)) {
        for (guint i = 0; i < json_array_get_length(holders); i++) {
                g_autofree char *text = describe(json_array_get_object_element(holders, i));

                show_add(table, i == 0 ? label : "", STYLE_PLAIN, text);
        }
}

static char *describe_use(JsonObject *use) {
        return g_strdup_printf("%s; %s", function_string(use, "Text"),
                               function_string(use, "Lost"));
}

/* "unbind since 2026-11-21 00:51 (process 815)" */
static void add_operation(Table *table, JsonObject *function) {
        JsonObject *operation = function_object(function, "Operation");
        gint64 pid = operation ? function_integer(operation, "Pid", 0) : 0;
        g_autoptr(GString) text = NULL;
        g_autofree char *since = NULL;

        if (!operation)
                return;
        since = value_format_time(function_integer(operation, "Since", 0));
        text = g_string_new(function_string(operation, "Name"));
        if (since)
                g_string_append_printf(text, " since %s", since);
        if (pid != 0)
                g_string_append_printf(text, " (process %" G_GINT64_FORMAT ")", pid);
        show_add(table, "In progress", STYLE_YELLOW, text->str);
}

/* "enabled, 20 bits, execute, privileged", and who relies on it. */
static void add_pasid(Table *table, JsonObject *function) {
        JsonObject *pasid = function_object(function, "Pasid");
        JsonArray *dependents = pasid ? function_array(pasid, "Dependents") : NULL;
        g_autofree char *text = NULL;

        if (!pasid)
                return;
        text = g_strdup_printf("%s, %" G_GINT64_FORMAT " bits%s%s",
                               function_flag(pasid, "Enabled") ? "enabled" : "disabled",
                               function_integer(pasid, "Width", 0),
                               function_flag(pasid, "Execute") ? ", execute" : "",
                               function_flag(pasid, "Privileged") ? ", privileged" : "");
        show_add(table, "PASID", STYLE_PLAIN, text);
        if (dependents && json_array_get_length(dependents) > 0)
                add_lines(table, "Relied on by", pasid, "Dependents");
}

static void show_add_lock(Table *table, JsonObject *function) {
        JsonArray *reasons = function_array(function, "LockReasons");
        const char *why = function_string(function, "LockWhy");
        bool locked = function_flag(function, "Locked");

        show_add(table, "Locked", locked ? STYLE_YELLOW : STYLE_PLAIN, locked ? "yes" : "no");
        for (guint i = 0; reasons && i < json_array_get_length(reasons); i++) {
                g_autofree char *reason = value_format("", json_array_get_element(reasons, i));
                g_autofree char *text = words_for_reason(reason);

                show_add(table, i == 0 ? "Lock reasons" : "", STYLE_PLAIN, text);
        }
        if (*why)
                show_add(table, "Administrator says", STYLE_PLAIN, why);
        add_member(table, "Locked files", function, "ClosedFiles");
}

static void show_add_state(Table *table, JsonObject *function, JsonArray *users,
                           JsonArray *inhibitors) {
        bool tainted = function_flag(function, "Tainted"),
             in_use = function_flag(function, "InUse");
        const char *state = function_string(function, "State");

        show_add(table, "State", STYLE_PLAIN, *state ? words_for_state(state) : "unknown");
        show_add(table, "In use", in_use ? STYLE_GREEN : STYLE_PLAIN, in_use ? "yes" : "no");
        add_holders(table, "Used by", users, holder_describe);
        if (has_elements(function, "Uses"))
                add_holders(table, "Used by the host", function_array(function, "Uses"),
                            describe_use);
        add_operation(table, function);
        add_holders(table, "Inhibitors", inhibitors, inhibitor_describe);
        show_add_lock(table, function);
        if (function_flag(function, "UserspaceDriver"))
                show_add(table, "Userspace driver", STYLE_PLAIN,
                         "yes, now or since it was plugged in");
        show_add(table, "Tainted", tainted ? STYLE_RED : STYLE_PLAIN,
                 tainted ? "yes, until it is plugged in anew" : "no");
}

static void add_rest(Table *table, JsonObject *function) {
        JsonObjectIter iterator;
        const char *member;
        JsonNode *value;

        json_object_iter_init_ordered(&iterator, function);
        while (json_object_iter_next_ordered(&iterator, &member, &value)) {
                g_autofree char *text = value_format(member, value);

                if (!g_strv_contains(labelled, member))
                        show_add(table, member, STYLE_PLAIN, text);
        }
}

void function_page_print(Output *output, JsonObject *function, JsonArray *users,
                         JsonArray *inhibitors) {
        g_autoptr(Table) table = table_new(output, 2);
        g_autofree char *name = function_name(function);

        table_align_right(table, 0);
        add_identity(table, function);
        add_sriov(table, function);
        add_place(table, function);
        add_msix(table, function);
        add_pasid(table, function);
        add_zpci(table, function);
        add_zpci_io(table, function);
        show_add_state(table, function, users, inhibitors);
        add_rest(table, function);

        output_text(output, STYLE_BOLD, function_string(function, "Address"));
        if (*name) {
                output_format(output, "  ");
                output_text(output, STYLE_BOLD, name);
        }
        output_format(output, "\n");
        table_print(table);
}
