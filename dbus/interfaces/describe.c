/* The inventory as JSON: each function a flat object whose members bear the names of the D-Bus
 * properties; other functions are named by address. */
#include "dbus/answers.h"
#include "dbus/interfaces/describe-user.h"
#include "dbus/interfaces/interface-table.h"
#include "dbus/interfaces/interface.h"
#include "dbus/interfaces/json-members.h"
#include "dbus/path.h"

#include <json-glib/json-glib.h>
#include <limits.h>
#include <string.h>
#include <systemd/sd-id128.h>
#include <unistd.h>

/* Grows when a member goes or gets another meaning. The documentation of Describe() in
 * org.vfwarden1.Manager.xml lists all members; a test compares the two. */
#define SCHEMA_VERSION 1

static void begin_array(JsonBuilder *builder, const char *name) {
        json_builder_set_member_name(builder, name);
        json_builder_begin_array(builder);
}

static void add_problems(JsonBuilder *builder, const Manager *manager) {
        g_auto(GStrv) problems = manager_problems(manager);

        begin_array(builder, "Problems");
        for (unsigned i = 0; problems[i]; i++)
                json_builder_add_string_value(builder, problems[i]);
        json_builder_end_array(builder);
}

static void add_turns(JsonBuilder *builder, const Manager *manager) {
        uint64_t longest, longest_cpu;

        manager_get_turns(manager, &longest, &longest_cpu);
        add_number(builder, "LongestTurn", (int64_t) longest);
        add_number(builder, "LongestTurnCpu", (int64_t) longest_cpu);
}

static void add_identity(JsonBuilder *builder, const Function *function) {
        const FunctionFacts *facts = &function->facts;
        char address[PCI_ADDRESS_STRING_MAX];

        add_string(builder, "Address", pci_address_format(function_address(function), address));
        add_string(builder, "Kind", function_kind_to_string(function->kind));
        add_number(builder, "VendorId", facts->vendor);
        add_number(builder, "DeviceId", facts->device);
        add_number(builder, "SubsystemVendorId", facts->subsystem_vendor);
        add_number(builder, "SubsystemDeviceId", facts->subsystem_device);
        add_number(builder, "Class", facts->class_code);
        add_number(builder, "Revision", facts->revision);
        add_string(builder, "VendorName", facts->vendor_name);
        add_string(builder, "DeviceName", facts->device_name);
        add_string(builder, "Driver", facts->driver);
        add_string(builder, "DriverOverride", facts->driver_override);
        add_number(builder, "IommuGroup", facts->iommu_group);
        add_number(builder, "NumaNode", facts->numa_node);
        add_string(builder, "CommandMemory",
                   function_kind_memory_hardwired_zero(function->kind) ? "hardwired-zero"
                                                                       : "implemented");
}

static void add_lock(JsonBuilder *builder, const Function *function) {
        add_boolean(builder, "InUse", function_in_use(function));
        add_boolean(builder, "Locked", function->lock_reasons != 0);
        begin_array(builder, "LockReasons");
        for (unsigned i = 0; i < LOCK_REASONS_MAX; i++)
                if (function->lock_reasons & (1U << i))
                        json_builder_add_string_value(builder, lock_reason_to_string(1U << i));
        json_builder_end_array(builder);
        add_string(builder, "LockWhy", function->lock_why ? function->lock_why : "");
        begin_array(builder, "ClosedFiles");
        for (LockFile file = 0; file < _LOCK_FILE_MAX; file++)
                if (function->protected_files & (1U << file))
                        json_builder_add_string_value(builder, lock_file_to_string(file));
        json_builder_end_array(builder);
        add_boolean(builder, "UserspaceDriver", function->userspace_driver);
        add_boolean(builder, "Tainted", function->tainted);
        add_string(builder, "State", function_state_to_string(function->state));
}

static void add_pf(JsonBuilder *builder, const Function *pf) {
        char address[PCI_ADDRESS_STRING_MAX];

        add_number(builder, "TotalVFs", pf->facts.total_vfs);
        add_number(builder, "NumVFs", function_num_vfs(pf));
        begin_array(builder, "VirtualFunctions");
        for (guint i = 0; pf->vfs && i < pf->vfs->len; i++)
                json_builder_add_string_value(
                        builder, pci_address_format(function_address(pf->vfs->pdata[i]), address));
        json_builder_end_array(builder);
        add_boolean(builder, "DriversAutoprobe", pf->facts.drivers_autoprobe);
}

static void add_vf(JsonBuilder *builder, const Function *vf) {
        char address[PCI_ADDRESS_STRING_MAX] = "";

        if (vf->pf)
                pci_address_format(function_address(vf->pf), address);
        add_string(builder, "PhysicalFunction", address);
        add_number(builder, "Index", vf->index);
}

static void add_msix(JsonBuilder *builder, const Function *function) {
        const Msix *msix = &function->facts.msix;
        MsiGround ground = msi_ground(function->msi);
        g_auto(GStrv) sentences = msi_evidence_sentences(function->facts.key, function->msi);

        json_builder_set_member_name(builder, "Msix");
        json_builder_begin_object(builder);
        add_number(builder, "Vectors", msix->vectors);
        add_number(builder, "TableBar", msix->table_bar);
        add_number(builder, "TableOffset", msix->table_offset);
        add_number(builder, "PbaBar", msix->pba_bar);
        add_number(builder, "PbaOffset", msix->pba_offset);
        add_string(builder, "Isolation", msi_isolation_to_string(msi_ground_isolation(ground)));
        begin_array(builder, "Evidence");
        for (unsigned i = 0; sentences[i]; i++)
                json_builder_add_string_value(builder, sentences[i]);
        json_builder_end_array(builder);
        add_boolean(builder, "TableMappable", function_msix_table_mappable(function));
        add_string(builder, "Reason", msi_ground_to_reason(ground));
        json_builder_end_object(builder);
}

static void add_pasid(JsonBuilder *builder, const Function *function) {
        char address[PCI_ADDRESS_STRING_MAX];
        const Function *provider;
        const Pasid *pasid = function_pasid(function, &provider);

        json_builder_set_member_name(builder, "Pasid");
        json_builder_begin_object(builder);
        add_boolean(builder, "Enabled", pasid->enabled);
        add_number(builder, "Width", pasid->width);
        add_boolean(builder, "Execute", pasid->execute);
        add_boolean(builder, "Privileged", pasid->privileged);
        add_string(builder, "Provider", pci_address_format(function_address(provider), address));
        begin_array(builder, "Dependents");
        for (guint i = 0; function->vfs && i < function->vfs->len; i++) {
                const Function *vf = function->vfs->pdata[i];

                if (function_depends_on_pasid(vf))
                        json_builder_add_string_value(
                                builder, pci_address_format(function_address(vf), address));
        }
        json_builder_end_array(builder);
        json_builder_end_object(builder);
}

static void add_users(JsonBuilder *builder, const Function *function, bool commands) {
        guint n = function->users ? function->users->len : 0;

        begin_array(builder, "Users");
        for (guint i = 0; i < MIN(n, USERS_LISTED_MAX); i++)
                describe_user(builder, function->users->pdata[i], commands);
        json_builder_end_array(builder);
        if (n > USERS_LISTED_MAX)
                add_number(builder, "UsersOmitted", n - USERS_LISTED_MAX);
}

static void add_operation(JsonBuilder *builder, const RunningOperation *operation) {
        json_builder_set_member_name(builder, "Operation");
        json_builder_begin_object(builder);
        add_string(builder, "Name", operation->name);
        add_number(builder, "Pid", operation->pid);
        add_number(builder, "Since", (int64_t) operation->since_usec);
        json_builder_end_object(builder);
}

static void add_zpci(JsonBuilder *builder, const Function *function) {
        const ZpciFacts *zpci = &function->facts.zpci;

        add_number(builder, "FunctionId", zpci->function_id);
        add_number(builder, "FunctionHandle", manager_function_handle(function));
        add_number(builder, "Uid", zpci->uid);
        add_number(builder, "Pchid", zpci->pchid);
        add_number(builder, "FunctionGroup", zpci->function_group);
        add_number(builder, "VirtualFunctionNumber", function->facts.s390_vfn);
        add_number(builder, "FunctionType", zpci->function_type);
        add_boolean(builder, "MioEnabled", zpci->mio_enabled);
}

static void add_zpci_io(JsonBuilder *builder, const Function *function) {
        json_builder_set_member_name(builder, "ZpciIo");
        json_builder_begin_object(builder);
        add_string(builder, "Backend", function_io_backend(function));
        add_number(builder, "MaxStoreBlock", function_io_max_store_block(function));
        add_boolean(builder, "Relaxed", function_io_relaxed(function));
        json_builder_end_object(builder);
}

static bool has_interface(const Function *function, const char *name) {
        return interface_on_function(interface_find(name), function);
}

static void add_host(JsonBuilder *builder) {
        char hostname[HOST_NAME_MAX + 1] = "", machine[SD_ID128_STRING_MAX] = "";
        g_autofree char *valid = NULL;
        sd_id128_t id;

        if (gethostname(hostname, sizeof(hostname) - 1) < 0)
                hostname[0] = '\0';
        valid = g_utf8_make_valid(hostname, -1);
        if (sd_id128_get_machine(&id) >= 0)
                sd_id128_to_string(id, machine);
        add_string(builder, "Hostname", valid);
        add_string(builder, "MachineId", machine);
        add_number(builder, "Time", g_get_real_time());
}

/* Appends what `builder` has built, as text. */
static void append_json(GString *text, JsonBuilder *builder) {
        g_autoptr(JsonGenerator) generator = json_generator_new();
        g_autoptr(JsonNode) root = json_builder_get_root(builder);

        json_generator_set_root(generator, root);
        json_generator_to_gstring(generator, text);
}

/* The object is left open: the functions come one by one, each as a text of its own. */
static int begin_document(Answer *answer) {
        const Manager *manager = answer->call.bus->manager;
        g_autoptr(JsonBuilder) builder = json_builder_new();

        json_builder_begin_object(builder);
        add_number(builder, "SchemaVersion", SCHEMA_VERSION);
        add_host(builder);
        add_string(builder, "Version", VFWARDEN_VERSION);
        add_string(builder, "Enforcement", manager_enforces(manager) ? "enforce" : "advise");
        add_problems(builder, manager);
        add_turns(builder, manager);
        json_builder_end_object(builder);
        append_json(answer->text, builder);
        g_string_truncate(answer->text, answer->text->len - strlen("}"));
        g_string_append(answer->text, ",\"Functions\":[");
        return 0;
}

static int add_function(Answer *answer, Function *function) {
        g_autoptr(JsonBuilder) builder = json_builder_new();

        json_builder_begin_object(builder);
        add_identity(builder, function);
        add_lock(builder, function);
        if (has_interface(function, BUS_INTERFACE("PhysicalFunction")))
                add_pf(builder, function);
        if (has_interface(function, BUS_INTERFACE("VirtualFunction")))
                add_vf(builder, function);
        if (has_interface(function, BUS_INTERFACE("Msix")))
                add_msix(builder, function);
        if (has_interface(function, BUS_INTERFACE("Pasid")))
                add_pasid(builder, function);
        add_users(builder, function, answer->call.uid == 0);
        if (function->operation)
                add_operation(builder, function->operation);
        else if (function->outside)
                add_operation(builder, &function->outside->running);
        if (has_interface(function, BUS_INTERFACE("Zpci")))
                add_zpci(builder, function);
        if (has_interface(function, BUS_INTERFACE("ZpciIo")))
                add_zpci_io(builder, function);
        json_builder_end_object(builder);

        if (answer->text->str[answer->text->len - 1] != '[')
                g_string_append_c(answer->text, ',');
        append_json(answer->text, builder);
        return 0;
}

static int end_document(Answer *answer) {
        g_string_append_c(answer->text, ']');
        if (answer->left_out > 0)
                g_string_append_printf(answer->text, ",\"FunctionsOmitted\":%u", answer->left_out);
        g_string_append_c(answer->text, '}');
        return 0;
}

int manager_describe(const MethodCall *call, sd_bus_error *error) {
        static const AnswerKind kind = {
                .begin = begin_document,
                .add = add_function,
                .end = end_document,
                .is_text = true,
        };

        return answers_add(call->bus->answers, call, &kind, error);
}
