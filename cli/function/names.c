#include "cli/function/names.h"

#include "cli/address.h"
#include "cli/suggest.h"

#include <string.h>

typedef struct NameForm {
        const char *prefix;
        bool bare;    /* the prefix may be left out */
        bool offered; /* by a shell, without the prefix */
        /* Adds all names of this form that the function has: char*. */
        void (*list)(JsonObject *function, GPtrArray *names);
        /* The given text as `list` has it, the caller's; NULL if it cannot be such a name. */
        char *(*normalise)(const char *text);
} NameForm;

/* --- the forms */

static void add_strings(JsonObject *function, const char *member, GPtrArray *names) {
        JsonArray *array = function_array(function, member);

        for (guint i = 0; array && i < json_array_get_length(array); i++) {
                JsonNode *node = json_array_get_element(array, i);

                if (json_node_get_value_type(node) == G_TYPE_STRING)
                        g_ptr_array_add(names, g_strdup(json_node_get_string(node)));
        }
}

static void list_interfaces(JsonObject *function, GPtrArray *names) {
        add_strings(function, "Interfaces", names);
}

static void list_block_devices(JsonObject *function, GPtrArray *names) {
        add_strings(function, "BlockDevices", names);
}

static void list_slot(JsonObject *function, GPtrArray *names) {
        const char *slot = function_string(function, "Slot");

        if (*slot)
                g_ptr_array_add(names, g_strdup(slot));
}

static void list_group(JsonObject *function, GPtrArray *names) {
        gint64 group = function_integer(function, "IommuGroup", -1);

        if (group >= 0)
                g_ptr_array_add(names, g_strdup_printf("%" G_GINT64_FORMAT, group));
}

static void list_device_id(JsonObject *function, GPtrArray *names) {
        gint64 vendor = function_integer(function, "VendorId", 0xffff);
        gint64 device = function_integer(function, "DeviceId", 0xffff);

        if (vendor != 0xffff)
                g_ptr_array_add(names,
                                g_strdup_printf("%04x:%04x", (unsigned) vendor, (unsigned) device));
}

static void list_function_id(JsonObject *function, GPtrArray *names) {
        if (json_object_has_member(function, "FunctionId"))
                g_ptr_array_add(names, g_strdup_printf("%08x", (unsigned) function_integer(
                                                                       function, "FunctionId", 0)));
}

/* 0 while the machine gives none. */
static void list_uid(JsonObject *function, GPtrArray *names) {
        gint64 uid = function_integer(function, "Uid", 0);

        if (uid != 0)
                g_ptr_array_add(names, g_strdup_printf("%08x", (unsigned) uid));
}

/* Of the virtual machines that have it open. */
static void list_domains(JsonObject *function, GPtrArray *names) {
        JsonArray *users = function_array(function, "Users");

        for (guint i = 0; users && i < json_array_get_length(users); i++) {
                JsonNode *user = json_array_get_element(users, i);
                const char *machine =
                        JSON_NODE_HOLDS_OBJECT(user)
                                ? function_string(json_node_get_object(user), "Machine")
                                : "";

                if (*machine)
                        g_ptr_array_add(names, g_strdup(machine));
        }
}

static char *normalise_device_id(const char *text) {
        for (size_t i = 0; i < strlen("8086:10c9"); i++)
                if (i == 4 ? text[i] != ':' : !g_ascii_isxdigit(text[i]))
                        return NULL;
        return text[strlen("8086:10c9")] ? NULL : g_ascii_strdown(text, -1);
}

/* With 0x, as s390's own tools have it, or without. */
static char *normalise_number(const char *text) {
        const char *digits = g_str_has_prefix(text, "0x") ? text + 2 : text;
        guint64 number;

        if (!g_ascii_string_to_unsigned(digits, 16, 0, G_MAXUINT32, &number, NULL))
                return NULL;
        return g_strdup_printf("%08x", (unsigned) number);
}

static char *normalise_nothing(const char *text) {
        return g_strdup(text);
}

/* To add a form, add its row, and a line to vfwarden(1). */
static const NameForm forms[] = {
        { "net:", true, true, list_interfaces, normalise_nothing },
        { "block:", true, true, list_block_devices, normalise_nothing },
        { "slot:", false, false, list_slot, normalise_nothing },
        { "group:", false, false, list_group, normalise_nothing },
        { "id:", true, false, list_device_id, normalise_device_id },
        { "fid:", false, false, list_function_id, normalise_number },
        { "uid:", false, false, list_uid, normalise_number },
        { "domain:", false, false, list_domains, normalise_nothing },
};

static const NameForm *form_of(const char *text) {
        for (size_t i = 0; i < G_N_ELEMENTS(forms); i++)
                if (g_str_has_prefix(text, forms[i].prefix))
                        return &forms[i];
        return NULL;
}

/* --- addresses */

static char *normalise_address(const char *text) {
        g_autofree char *why = NULL;
        char *address = NULL;

        return address_normalise(text, &address, &why) < 0 ? NULL : address;
}

/* "pci_0000_01_00_0" */
static char *address_from_libvirt(const char *text) {
        g_auto(GStrv) parts = g_strsplit(text, "_", -1);
        g_autofree char *joined = NULL;

        if (g_strv_length(parts) != 5)
                return NULL;
        joined = g_strdup_printf("%s:%s:%s.%s", parts[1], parts[2], parts[3], parts[4]);
        return normalise_address(joined);
}

/* "pci-0000:01:00.0-nvme-1" */
static char *address_from_udev(const char *text) {
        g_auto(GStrv) parts = g_strsplit(text, "-", 3);

        return normalise_address(parts[1]);
}

static char *address_from_path(const char *path) {
        g_auto(GStrv) parts = g_strsplit(path, "/", -1);

        for (guint i = g_strv_length(parts); i > 0; i--) {
                char *address = normalise_address(parts[i - 1]);

                if (address)
                        return address;
        }
        return NULL;
}

char *name_to_address(const char *text) {
        if (!g_utf8_validate(text, -1, NULL))
                return NULL;
        if (text[0] == '/')
                return address_from_path(text);
        if (g_str_has_prefix(text, "pci_"))
                return address_from_libvirt(text);
        if (g_str_has_prefix(text, "pci-"))
                return address_from_udev(text);
        return normalise_address(text);
}

char *name_from_path(const char *path) {
        g_autofree char *base = g_path_get_basename(path);
        bool group = g_str_has_prefix(path, "/dev/vfio/") && g_ascii_isdigit(base[0]);

        return g_strconcat(group ? "group:" : "", base, NULL);
}

bool name_is_pattern(const char *text) {
        return text[0] != '/' && strpbrk(text, "*?");
}

bool name_is_like_address(const char *text) {
        g_autofree char *id = normalise_device_id(text);

        if (!g_utf8_validate(text, -1, NULL))
                return true;
        if (id || form_of(text) || name_is_pattern(text))
                return false;
        return strchr(text, ':') || !*text || text[0] == '-' ||
               (g_ascii_isdigit(text[0]) &&
                strspn(text, "0123456789abcdefABCDEF.") == strlen(text));
}

/* --- looking */

static GPtrArray *names_of(JsonObject *function, const NameForm *form) {
        GPtrArray *names = g_ptr_array_new_with_free_func(g_free);

        form->list(function, names);
        return names;
}

static bool matches_any(const GPtrArray *names, const char *pattern) {
        for (guint i = 0; i < names->len; i++)
                if (g_pattern_match_simple(pattern, names->pdata[i]))
                        return true;
        return false;
}

static bool has_name_of_form(JsonObject *function, const NameForm *form, const char *text) {
        if (name_is_pattern(text)) {
                g_autoptr(GPtrArray) all = names_of(function, form);

                return matches_any(all, text);
        }

        g_autofree char *wanted = form->normalise(text);
        g_autoptr(GPtrArray) names = wanted ? names_of(function, form) : NULL;

        return names && g_ptr_array_find_with_equal_func(names, wanted, g_str_equal, NULL);
}

static bool has_name(JsonObject *function, const char *name) {
        const NameForm *form = form_of(name);

        if (form)
                return has_name_of_form(function, form, name + strlen(form->prefix));
        if (name_is_pattern(name) &&
            g_pattern_match_simple(name, function_string(function, "Address")))
                return true;
        for (size_t i = 0; i < G_N_ELEMENTS(forms); i++)
                if (forms[i].bare && has_name_of_form(function, &forms[i], name))
                        return true;
        return false;
}

GPtrArray *names_find(const Inventory *inventory, const char *name) {
        GPtrArray *found = g_ptr_array_new();

        for (guint i = 0; i < inventory->functions->len; i++)
                if (has_name(inventory->functions->pdata[i], name))
                        g_ptr_array_add(found, inventory->functions->pdata[i]);
        return found;
}

/* --- offering */

/* An interface may be called "$(reboot)": a shell is offered what needs no quotes. */
static bool is_plain(const char *name) {
        for (const char *p = name; *p; p++)
                if (!g_ascii_isalnum(*p) && !strchr("._:+@-", *p))
                        return false;
        return name[0] != '-';
}

static void offer(GPtrArray *all, char *name) {
        if (!is_plain(name) || g_ptr_array_find_with_equal_func(all, name, g_str_equal, NULL))
                g_free(name);
        else
                g_ptr_array_add(all, name);
}

static void offer_form(JsonObject *function, const NameForm *form, const char *prefix,
                       GPtrArray *all) {
        g_autoptr(GPtrArray) names = names_of(function, form);

        for (guint i = 0; i < names->len; i++)
                offer(all, g_strconcat(prefix, names->pdata[i], NULL));
}

GPtrArray *names_offer(const Inventory *inventory, const char *typed) {
        GPtrArray *all = g_ptr_array_new_with_free_func(g_free);
        const NameForm *form = form_of(typed);

        for (guint i = 0; !form && i < inventory->functions->len; i++)
                g_ptr_array_add(
                        all, g_strdup(function_string(inventory->functions->pdata[i], "Address")));
        for (guint i = 0; i < inventory->functions->len; i++) {
                JsonObject *function = inventory->functions->pdata[i];

                if (form)
                        offer_form(function, form, form->prefix, all);
                for (size_t j = 0; !form && j < G_N_ELEMENTS(forms); j++)
                        if (forms[j].offered)
                                offer_form(function, &forms[j], "", all);
        }
        return all;
}

char *names_nearest(const Inventory *inventory, const char *name) {
        g_autoptr(GPtrArray) all = names_offer(inventory, name);

        g_ptr_array_add(all, NULL);
        return g_strdup(suggest_nearest(name, (const char *const *) all->pdata));
}
