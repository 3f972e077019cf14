#include "cli/record/gather.h"

#include "cli/address.h"
#include "cli/cleanup.h"
#include "cli/client.h"
#include "cli/record/recording.h"
#include "cli/record/tar.h"
#include "cli/value.h"
#include "cli/vocabulary.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#define DEVICES    "/sys/bus/pci/devices"
#define FACT_MAX   4096
#define CONFIG_MAX 4096
/* Each takes nine calls. */
#define CHECKED_MAX 256U

/* Not driver_override and sriov_numvfs, whose readers take the device's lock; the daemon's picture
 * has both. */
static const char *const files[] = {
        "vendor",
        "device",
        "subsystem_vendor",
        "subsystem_device",
        "class",
        "revision",
        "modalias",
        "numa_node",
        "enable",
        "irq",
        "power_state",
        "power/runtime_status",
        "sriov_totalvfs",
        "sriov_offset",
        "sriov_stride",
        "sriov_vf_device",
        "reset_method",
        "resource",
        "function_id",
        "function_handle",
        "uid",
        "pchid",
        "pfgid",
        "pft",
        "vfn",
        "mio_enabled",
        NULL,
};
static const char *const links[] = { "driver", "iommu_group", "physfn", NULL };
/* Of those that the daemon locks, the mode counts. */
static const char *const locked[] = {
        "sriov_numvfs", "sriov_drivers_autoprobe", "remove", "reset", "reset_method", NULL,
};

void gathered_clear(Gathered *gathered) {
        g_clear_pointer(&gathered->archive, g_byte_array_unref);
}

static int add_document(Gathered *gathered, const char *name, JsonNode *node) {
        g_autofree char *text = NULL;

        recording_remove_secrets(node);
        text = json_to_string(node, TRUE);
        return tar_add(gathered->archive, name, text, strlen(text));
}

static int add_about(Gathered *gathered, const Inventory *inventory) {
        g_autoptr(JsonObject) about = json_object_new();
        g_autoptr(JsonNode) node = json_node_init_object(json_node_alloc(), about);
        struct utsname system;

        (void) uname(&system);
        json_object_set_int_member(about, "Format", RECORDING_FORMAT);
        json_object_set_string_member(about, "Version", inventory->version);
        json_object_set_string_member(about, "Kernel", system.release);
        json_object_set_string_member(about, "Machine", system.machine);
        return add_document(gathered, RECORDING_ABOUT, node);
}

/* --- what the daemon says */

/* The first value of the reply becomes a document. */
static int add_reply(Gathered *gathered, const char *name, sd_bus_message *reply) {
        g_autoptr(JsonNode) node = NULL;
        int r = value_read(reply, &node);

        return r < 0 ? r : add_document(gathered, name, node);
}

static int add_answers(Context *context, Gathered *gathered, sd_bus_error *ret_error) {
        static const struct {
                const char *name, *interface, *member, *types;
        } answers[] = {
                { RECORDING_USERS, CLIENT_MANAGER, "DescribeUsers", "s" },
                { RECORDING_USES, CLIENT_MANAGER, "DescribeUses", "s" },
                { RECORDING_INHIBITORS, CLIENT_MANAGER, "DescribeInhibitors", "" },
                { RECORDING_ACTIVITY, CLIENT_STATISTICS, "DescribeFunctions", "" },
        };
        int r = 0;

        for (size_t i = 0; r >= 0 && i < G_N_ELEMENTS(answers); i++) {
                g_autoptr(sd_bus_message) reply = NULL;

                r = client_call(context, CLIENT_ROOT, answers[i].interface, answers[i].member,
                                CALL_NO_AUTO_START, ret_error, &reply, answers[i].types, "");
                if (r >= 0)
                        r = add_reply(gathered, answers[i].name, reply);
        }
        return r;
}

static int add_picture(Context *context, Gathered *gathered, sd_bus_error *ret_error,
                       Inventory **ret) {
        g_autoptr(sd_bus_message) reply = NULL;
        g_autoptr(GBytes) bytes = NULL;
        g_autoptr(JsonNode) node = NULL;
        const char *document;
        int r = client_call(context, CLIENT_ROOT, CLIENT_MANAGER, "Describe", CALL_NO_AUTO_START,
                            ret_error, &reply, "");

        if (r >= 0)
                r = sd_bus_message_read(reply, "s", &document);
        if (r < 0)
                return r;
        bytes = g_bytes_new(document, strlen(document));
        node = recording_parse(bytes);
        if (!node || inventory_parse(document, ret, NULL) < 0)
                return -EBADMSG;
        return add_document(gathered, RECORDING_PICTURE, node);
}

static int add_counters(Context *context, Gathered *gathered, sd_bus_error *ret_error) {
        g_autoptr(sd_bus_message) reply = NULL;
        g_autoptr(JsonObject) counters = json_object_new();
        g_autoptr(JsonNode) node = json_node_init_object(json_node_alloc(), counters);
        int r = client_call(context, CLIENT_ROOT, "org.freedesktop.DBus.Properties", "GetAll",
                            CALL_NO_AUTO_START, ret_error, &reply, "s", CLIENT_STATISTICS);

        if (r >= 0)
                r = value_read_properties(reply, counters);
        return r < 0 ? r : add_document(gathered, RECORDING_COUNTERS, node);
}

/* The answers for one function, by operation; those that its kind does not have are left out. */
static int check_function(Context *context, const char *address, sd_bus_error *ret_error,
                          JsonObject *answers) {
        for (const char *const *operation = vocabulary_all; *operation; operation++) {
                _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
                g_autoptr(sd_bus_message) reply = NULL;
                JsonArray *answer;
                int r = client_call(context, CLIENT_ROOT, CLIENT_MANAGER, "Check",
                                    CALL_NO_AUTO_START, &error, &reply, "ss", address, *operation);

                if (sd_bus_error_is_set(&error) &&
                    g_str_has_prefix(error.name, CLIENT_BUS_NAME ".Error."))
                        continue; /* it has gone meanwhile, or its kind has no such operation */
                if (r < 0) {
                        sd_bus_error_move(ret_error, &error);
                        return r;
                }
                answer = json_array_new();
                json_object_set_array_member(answers, *operation, answer);
                for (int i = 0; i < 3; i++) {
                        g_autoptr(JsonNode) node = NULL;

                        r = value_read(reply, &node);
                        if (r < 0)
                                return r;
                        json_array_add_element(answer, g_steal_pointer(&node));
                }
                recording_remove_reasons(json_array_get_array_element(answer, 1));
        }
        return 0;
}

static int add_checks(Context *context, Gathered *gathered, const Inventory *inventory,
                      sd_bus_error *ret_error) {
        g_autoptr(JsonObject) checks = json_object_new();
        g_autoptr(JsonNode) node = json_node_init_object(json_node_alloc(), checks);
        guint n = MIN(inventory->functions->len, CHECKED_MAX);

        for (guint i = 0; i < n; i++) {
                const char *address = function_string(inventory->functions->pdata[i], "Address");
                JsonObject *answers = json_object_new();
                int r;

                json_object_set_object_member(checks, address, answers);
                r = check_function(context, address, ret_error, answers);
                if (r < 0)
                        return r;
        }
        gathered->unchecked = inventory->functions->len - n;
        return add_document(gathered, RECORDING_CHECKS, node);
}

/* --- what sysfs says */

/* The contents of a small file, the caller's; NULL if it cannot be read. */
static char *gather_read_fact(const char *device, const char *file) {
        g_autofree char *path = g_build_filename(device, file, NULL);
        char text[FACT_MAX + 1];
        ssize_t n;
        int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

        if (fd < 0)
                return NULL;
        n = read(fd, text, FACT_MAX);
        (void) close(fd);
        return n < 0 ? NULL : g_utf8_make_valid(text, n);
}

static void set_fact(Gathered *gathered, JsonObject *facts, const char *name, const char *text) {
        json_object_set_string_member(facts, name, text);
        gathered->facts++;
}

static void read_facts(Gathered *gathered, const char *device, JsonObject *facts) {
        for (const char *const *file = files; *file; file++) {
                g_autofree char *text = gather_read_fact(device, *file);

                if (text)
                        set_fact(gathered, facts, *file, g_strchomp(text));
        }
        for (const char *const *link = links; *link; link++) {
                g_autofree char *path = g_build_filename(device, *link, NULL);
                g_autofree char *target = g_file_read_link(path, NULL);
                g_autofree char *base = target ? g_path_get_basename(target) : NULL;
                g_autofree char *valid = base ? g_utf8_make_valid(base, -1) : NULL;

                if (valid)
                        set_fact(gathered, facts, *link, valid);
        }
        for (const char *const *file = locked; *file; file++) {
                g_autofree char *path = g_build_filename(device, *file, NULL);
                g_autofree char *name = g_strconcat("mode of ", *file, NULL);
                g_autofree char *mode = NULL;
                struct stat st;

                if (lstat(path, &st) < 0)
                        continue;
                mode = g_strdup_printf("%04o", (unsigned) st.st_mode & 07777U);
                set_fact(gathered, facts, name, mode);
        }
}

/* Whether neither the function nor a bridge above it sleeps: the kernel would wake them up for a
 * read of configuration space (pci_config_pm_runtime_get() in drivers/pci/pci-sysfs.c). */
static bool is_awake(const char *device) {
        g_autofree char *path = realpath(device, NULL);

        while (path && strstr(path, "/pci")) {
                g_autofree char *status = gather_read_fact(path, "power/runtime_status");
                char *slash = strrchr(path, '/');

                if (status && !g_str_has_prefix(status, "active") &&
                    !g_str_has_prefix(status, "unsupported"))
                        return false;
                *slash = '\0';
        }
        return path != NULL;
}

static int add_config(Gathered *gathered, const char *device, const char *address) {
        g_autofree char *path = g_build_filename(device, "config", NULL);
        g_autofree char *name = g_strconcat(RECORDING_CONFIG, address, NULL);
        guint8 config[CONFIG_MAX];
        ssize_t n;
        int fd;

        if (!is_awake(device)) {
                gathered->sleeping++;
                return 0;
        }
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return 0;
        n = read(fd, config, sizeof(config));
        (void) close(fd);
        if (n <= 0)
                return 0;
        recording_remove_serial(config, (gsize) n);
        gathered->configs++;
        return tar_add(gathered->archive, name, config, (gsize) n);
}

static int add_sysfs(Gathered *gathered, const Inventory *inventory) {
        g_autoptr(JsonObject) all = json_object_new();
        g_autoptr(JsonNode) node = json_node_init_object(json_node_alloc(), all);
        int r = 0;

        for (guint i = 0; r >= 0 && i < inventory->functions->len; i++) {
                const char *text = function_string(inventory->functions->pdata[i], "Address");
                g_autofree char *address = NULL, *why = NULL, *device = NULL;
                JsonObject *facts;

                if (address_normalise(text, &address, &why) < 0)
                        continue;
                device = g_build_filename(DEVICES, address, NULL);
                facts = json_object_new();
                json_object_set_object_member(all, address, facts);
                read_facts(gathered, device, facts);
                r = add_config(gathered, device, address);
        }
        return r < 0 ? r : add_document(gathered, RECORDING_FACTS, node);
}

int gather(Context *context, sd_bus_error *ret_error, Gathered *ret) {
        g_autoptr(Inventory) inventory = NULL;
        int r;

        *ret = (Gathered){ .archive = g_byte_array_new() };
        r = add_picture(context, ret, ret_error, &inventory);
        if (r >= 0)
                r = add_about(ret, inventory);
        if (r >= 0)
                r = add_answers(context, ret, ret_error);
        if (r >= 0)
                r = add_counters(context, ret, ret_error);
        if (r >= 0)
                r = add_checks(context, ret, inventory, ret_error);
        if (r >= 0)
                r = add_sysfs(ret, inventory);
        if (r < 0)
                return r;
        ret->functions = inventory->functions->len;
        tar_end(ret->archive);
        return 0;
}
