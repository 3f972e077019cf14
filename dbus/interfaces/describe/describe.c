/* The inventory as JSON: each function an object whose members are the properties of its
 * interfaces, by the table of interfaces; other functions are named by address. */
#include "dbus/answers.h"
#include "dbus/interfaces/describe/describe-user.h"
#include "dbus/interfaces/describe/json-members.h"
#include "dbus/interfaces/interface-table.h"
#include "dbus/interfaces/interface.h"
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

static void add_lines(JsonBuilder *builder, const char *name, char **lines) {
        begin_array(builder, name);
        for (; *lines; lines++)
                json_builder_add_string_value(builder, *lines);
        json_builder_end_array(builder);
}

static void add_turns(JsonBuilder *builder, const Manager *manager) {
        const LoopCounters *loop = manager_loop_counters(manager);

        add_number(builder, "LongestTurn", (int64_t) loop->longest_usec);
        add_number(builder, "LongestTurnCpu", (int64_t) loop->longest_cpu_usec);
}

/* Writes the properties of the interface, as members of their own object where they have one. */
static int write_interface(ValueWriter *writer, const Interface *interface,
                           const Function *function) {
        int r = 0;

        if (interface->object) {
                value_begin_member(writer, interface->object);
                value_begin_object(writer);
        }
        for (const InterfaceProperty *p = interface->properties; r >= 0 && p->name; p++) {
                value_begin_member(writer, p->name);
                r = p->write(writer, function);
        }
        if (interface->object)
                value_end_object(writer);
        return r;
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

static void describe_uses(JsonBuilder *builder, const Function *function) {
        begin_array(builder, "Uses");
        for (guint i = 0; function->uses && i < function->uses->len; i++)
                describe_use(builder, function->uses->pdata[i]);
        json_builder_end_array(builder);
}

static void add_operation(JsonBuilder *builder, const RunningOperation *operation) {
        json_builder_set_member_name(builder, "Operation");
        json_builder_begin_object(builder);
        add_string(builder, "Name", operation->name);
        add_number(builder, "Pid", operation->pid);
        add_number(builder, "Since", (int64_t) operation->since_usec);
        json_builder_end_object(builder);
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
        g_auto(GStrv) problems = manager_problems(manager);
        g_auto(GStrv) guards = manager_guards(manager);

        json_builder_begin_object(builder);
        add_number(builder, "SchemaVersion", SCHEMA_VERSION);
        add_host(builder);
        add_string(builder, "Version", VFWARDEN_VERSION);
        add_string(builder, "Enforcement", manager_enforces(manager) ? "enforce" : "advise");
        add_lines(builder, "Problems", problems);
        add_lines(builder, "Guards", guards);
        add_turns(builder, manager);
        json_builder_end_object(builder);
        append_json(answer->text, builder);
        g_string_truncate(answer->text, answer->text->len - strlen("}"));
        g_string_append(answer->text, ",\"Functions\":[");
        return 0;
}

/* What each function has comes first, so that a person finds the address there. */
static int write_interfaces(ValueWriter *writer, const Function *function) {
        int r = 0;

        for (int of_each = 1; of_each >= 0; of_each--)
                interface_foreach (interface)
                        if (r >= 0 && (interface->on_function == NULL) == of_each &&
                            interface_on_function(interface, function))
                                r = write_interface(writer, interface, function);
        return r;
}

/* Adds the members that are no property. */
static void add_use(JsonBuilder *builder, const Function *function, bool commands) {
        json_builder_begin_object(builder);
        add_users(builder, function, commands);
        describe_uses(builder, function);
        if (function->operation)
                add_operation(builder, function->operation);
        else if (function->outside)
                add_operation(builder, &function->outside->running);
        json_builder_end_object(builder);
}

static int describe_add_function(Answer *answer, Function *function) {
        ValueWriter writer = { .json = answer->text };
        g_autoptr(JsonBuilder) use = json_builder_new();
        g_autoptr(GString) use_text = g_string_new(NULL);
        int r;

        if (answer->text->str[answer->text->len - 1] != '[')
                g_string_append_c(answer->text, ',');
        value_begin_object(&writer);
        r = write_interfaces(&writer, function);
        if (r < 0)
                return r;
        add_use(use, function, answer->call.uid == 0);
        append_json(use_text, use);
        /* Its members follow those above in the same object. */
        g_string_append_c(answer->text, ',');
        g_string_append(answer->text, use_text->str + strlen("{"));
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
                .add = describe_add_function,
                .end = end_document,
                .is_text = true,
        };

        return answers_add(call->bus->answers, call, &kind, error);
}
