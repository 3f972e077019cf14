#include "cli/function/columns.h"

#include "cli/output/report.h"
#include "cli/suggest.h"

#include <string.h>

static char *text_of_member(JsonObject *function, const char *member) {
        return g_strdup(function_string(function, member));
}

static char *number_of_member(JsonObject *function, const char *member) {
        gint64 number = function_integer(function, member, -1);

        return number < 0 ? g_strdup("") : g_strdup_printf("%" G_GINT64_FORMAT, number);
}

static char *column_address(JsonObject *function) {
        return text_of_member(function, "Address");
}

static char *column_kind(JsonObject *function) {
        return text_of_member(function, "Kind");
}

static char *column_driver(JsonObject *function) {
        return text_of_member(function, "Driver");
}

static char *column_group(JsonObject *function) {
        return number_of_member(function, "IommuGroup");
}

static char *column_numa(JsonObject *function) {
        return number_of_member(function, "NumaNode");
}

static char *column_slot(JsonObject *function) {
        return text_of_member(function, "Slot");
}

static char *column_serial(JsonObject *function) {
        return text_of_member(function, "Serial");
}

static char *column_interfaces(JsonObject *function) {
        return function_joined(function, "Interfaces", ",");
}

static char *column_disks(JsonObject *function) {
        return function_joined(function, "BlockDevices", ",");
}

static char *column_id(JsonObject *function) {
        gint64 vendor = function_integer(function, "VendorId", 0xffff);
        gint64 device = function_integer(function, "DeviceId", 0xffff);

        return vendor == 0xffff
                       ? g_strdup("")
                       : g_strdup_printf("%04x:%04x", (unsigned) vendor, (unsigned) device);
}

static char *column_link(JsonObject *function) {
        gint64 speed = function_integer(function, "LinkSpeed", 0);
        gint64 width = function_integer(function, "LinkWidth", 0);

        if (width == 0)
                return g_strdup("");
        return g_strdup_printf("%" G_GINT64_FORMAT "%sx%" G_GINT64_FORMAT, speed / 1000,
                               speed % 1000 == 500 ? ".5" : "", width);
}

/* A lock without a reason would be a fault of the daemon's: show it. */
static char *column_lock(JsonObject *function) {
        g_autofree char *reasons = function_joined(function, "LockReasons", ",");

        return g_strdup(!*reasons && function_flag(function, "Locked") ? "yes" : reasons);
}

static char *column_state(JsonObject *function) {
        const char *state = function_string(function, "State");
        g_autoptr(GString) text = g_string_new(NULL);

        if (function_flag(function, "InUse"))
                g_string_append(text, "in-use");
        if (*state && !g_str_equal(state, "present"))
                g_string_append_printf(text, "%s%s", text->len > 0 ? "," : "", state);
        if (function_flag(function, "Tainted"))
                g_string_append(text, text->len > 0 ? ",tainted" : "tainted");
        return g_string_free(g_steal_pointer(&text), FALSE);
}

/* The virtual machine, the unit or the process. */
static char *name_of_user(JsonObject *user) {
        const char *machine = function_string(user, "Machine"),
                   *unit = function_string(user, "Unit");
        gint64 pid = function_integer(user, "Pid", 0);

        if (*machine || *unit)
                return g_strdup(*machine ? machine : unit);
        return pid == 0 ? g_strdup("unknown") : g_strdup_printf("pid %" G_GINT64_FORMAT, pid);
}

static char *column_holder(JsonObject *function) {
        JsonArray *users = function_array(function, "Users");
        g_autoptr(GString) text = g_string_new(NULL);

        for (guint i = 0; users && i < json_array_get_length(users); i++) {
                g_autofree char *name = name_of_user(json_array_get_object_element(users, i));

                g_string_append_printf(text, "%s%s", i > 0 ? "," : "", name);
        }
        return g_string_free(g_steal_pointer(&text), FALSE);
}

static Style style_of_address(JsonObject *function) {
        return function_is(function, "pf") ? STYLE_BOLD : STYLE_PLAIN;
}

static Style style_of_lock(JsonObject *function) {
        return STYLE_YELLOW;
}

static Style style_of_state(JsonObject *function) {
        return function_flag(function, "Tainted") ? STYLE_RED : STYLE_GREEN;
}

const FunctionColumn function_columns[] = {
        { "address", "ADDRESS", false, column_address, style_of_address },
        { "kind", "KIND", false, column_kind, NULL },
        { "driver", "DRIVER", false, column_driver, NULL },
        { "group", "GROUP", true, column_group, NULL },
        { "numa", "NUMA", true, column_numa, NULL },
        { "slot", "SLOT", false, column_slot, NULL },
        { "id", "ID", false, column_id, NULL },
        { "link", "LINK", false, column_link, NULL },
        { "serial", "SERIAL", false, column_serial, NULL },
        { "interfaces", "INTERFACES", false, column_interfaces, NULL },
        { "disks", "DISKS", false, column_disks, NULL },
        { "lock", "LOCK", false, column_lock, style_of_lock },
        { "state", "STATE", false, column_state, style_of_state },
        { "holder", "HOLDER", false, column_holder, NULL },
        { "name", "NAME", false, function_name, NULL },
        { NULL, NULL, false, NULL, NULL },
};

const FunctionColumn *function_column_read(const char *name) {
        const char *names[G_N_ELEMENTS(function_columns)] = { NULL };
        g_autofree char *question = NULL;

        for (size_t i = 0; function_columns[i].name; i++) {
                if (g_str_equal(function_columns[i].name, name))
                        return &function_columns[i];
                names[i] = function_columns[i].name;
        }
        question = suggest_question(suggest_nearest(name, names));
        print_error("There is no column '%s'%s", name, question);
        return NULL;
}

GPtrArray *function_columns_read(const char *names, const char *usual) {
        g_autofree char *all =
                names[0] == '+' ? g_strconcat(usual, ",", names + 1, NULL) : g_strdup(names);
        g_auto(GStrv) words = g_strsplit(all, ",", -1);
        g_autoptr(GPtrArray) columns = g_ptr_array_new();

        for (char **word = words; *word; word++) {
                const FunctionColumn *column = function_column_read(*word);

                if (!column)
                        return NULL;
                g_ptr_array_add(columns, (gpointer) column);
        }
        if (columns->len == 0)
                print_error("--columns names no column");
        return columns->len == 0 ? NULL : g_steal_pointer(&columns);
}

int function_column_compare(const FunctionColumn *column, JsonObject *a, JsonObject *b) {
        g_autofree char *one = column->text(a), *other = column->text(b);

        return strverscmp(one, other);
}
