#include "cli/monitor/event.h"

#include "cli/value.h"

static const char *const kind_names[_EVENT_KIND_MAX] = {
        [EVENT_FUNCTION_ADDED] = "function-added",
        [EVENT_FUNCTION_REMOVED] = "function-removed",
        [EVENT_INTERFACE_ADDED] = "interface-added",
        [EVENT_INTERFACE_REMOVED] = "interface-removed",
        [EVENT_PROPERTY_CHANGED] = "property-changed",
        [EVENT_VIOLATION] = "violation",
        [EVENT_UNPLUG_REQUESTED] = "unplug-requested",
        [EVENT_DEVICE_FAILED] = "device-failed",
        [EVENT_DAEMON_STARTED] = "daemon-started",
        [EVENT_DAEMON_STOPPED] = "daemon-stopped",
        [EVENT_WATCHING] = "watching",
};

static void print_added(Output *output, JsonObject *function) {
        const char *pf = function_string(function, "PhysicalFunction");
        const char *driver = function_string(function, "Driver");
        g_autofree char *name = function_name(function);

        output_styled(output, STYLE_GREEN, "added");
        output_format(output, ": ");
        output_text(output, STYLE_PLAIN, function_string(function, "Kind"));
        if (*pf) {
                output_format(output, " of ");
                output_text(output, STYLE_PLAIN, pf);
        }
        if (*name) {
                output_format(output, ", ");
                output_text(output, STYLE_PLAIN, name);
        }
        output_format(output, ", ");
        output_text(output, STYLE_PLAIN, *driver ? driver : "no driver");
}

static void print_property(Output *output, const Event *event) {
        g_autofree char *old = event->old ? value_format(event->name, event->old) : NULL;
        g_autofree char *new = event->new ? value_format(event->name, event->new) : NULL;

        output_text(output, STYLE_PLAIN, event->name);
        output_format(output, ": ");
        if (old) {
                output_text(output, STYLE_PLAIN, old);
                output_format(output, " -> ");
        }
        output_text(output, STYLE_BOLD, new ? new : "unknown");
}

/* What the contract has no words for is printed as NAME=VALUE, so that nothing is left out. */
static void print_violation(Output *output, const Event *event) {
        static const char *const worded[] = { "file",           "mode",    "reasons",
                                              "num-vfs-before", "num-vfs", NULL };
        JsonObject *details = event->details;
        const char *file = function_string(details, "file");
        gint64 mode = function_integer(details, "mode", -1);
        gint64 before = function_integer(details, "num-vfs-before", -1);
        gint64 after = function_integer(details, "num-vfs", -1);
        g_autofree char *reasons = function_joined(details, "reasons", ", ");
        JsonObjectIter iterator;
        const char *member;
        JsonNode *value;

        output_styled(output, STYLE_RED, "violation");
        output_format(output, ": ");
        output_text(output, STYLE_PLAIN, event->name);
        if (*file) {
                output_format(output, ", ");
                output_text(output, STYLE_PLAIN, file);
                output_format(output, " was found open");
        }
        if (mode >= 0)
                output_format(output, ", mode %04" G_GINT64_MODIFIER "o", mode);
        if (before >= 0 && after >= 0)
                output_format(output, ", number of VFs %" G_GINT64_FORMAT " -> %" G_GINT64_FORMAT,
                              before, after);
        if (*reasons) {
                output_format(output, ", locked by ");
                output_text(output, STYLE_PLAIN, reasons);
        }

        json_object_iter_init_ordered(&iterator, details);
        while (json_object_iter_next_ordered(&iterator, &member, &value)) {
                g_autofree char *text = value_format(member, value);

                if (g_strv_contains(worded, member))
                        continue;
                output_format(output, ", ");
                output_text(output, STYLE_PLAIN, member);
                output_format(output, "=");
                output_text(output, STYLE_PLAIN, text);
        }
}

/* The time of `usec`, or NULL if the calendar has none: the number came from the bus. */
static GDateTime *time_from_usec(uint64_t usec) {
        return g_date_time_new_from_unix_local((gint64) (usec / G_USEC_PER_SEC));
}

static void print_unplug(Output *output, uint64_t deadline_usec) {
        g_autoptr(GDateTime) deadline = time_from_usec(deadline_usec);
        g_autofree char *time =
                deadline ? g_date_time_format(deadline, "%Y-%m-%d %H:%M:%S") : g_strdup("the end");

        output_styled(output, STYLE_YELLOW, "unplug requested");
        if (deadline_usec == 0)
                output_format(output, ", is being taken away");
        else
                output_format(output, ", to be released by %s", time);
}

static void print_watching(Output *output, const Inventory *inventory) {
        output_format(output, "version ");
        output_text(output, STYLE_PLAIN, inventory->version);
        output_format(output, ", enforcement ");
        output_text(output, STYLE_PLAIN, inventory->enforcement);
        output_format(output, ", %u functions", inventory->functions->len);
}

static void print_line(Output *output, GDateTime *now, const Event *event) {
        g_autofree char *time = g_date_time_format(now, "%Y-%m-%d %H:%M:%S");
        g_autofree char *subject =
                output_escape(output, event->address ? event->address : "vfwardend");

        output_format(output, "%s.%03d  ", time, g_date_time_get_microsecond(now) / 1000);
        output_styled(output, STYLE_BOLD, subject);
        output_format(output, "%*s  ", (int) MAX(0, 12 - (gssize) output_width(subject)), "");

        switch (event->kind) {
        case EVENT_FUNCTION_ADDED:
                print_added(output, event->function);
                break;
        case EVENT_FUNCTION_REMOVED:
                output_styled(output, STYLE_RED, "removed");
                break;
        case EVENT_INTERFACE_ADDED:
        case EVENT_INTERFACE_REMOVED:
                output_text(output, STYLE_PLAIN, event->name);
                output_format(output, event->kind == EVENT_INTERFACE_ADDED ? " added" : " removed");
                break;
        case EVENT_PROPERTY_CHANGED:
                print_property(output, event);
                break;
        case EVENT_VIOLATION:
                print_violation(output, event);
                break;
        case EVENT_UNPLUG_REQUESTED:
                print_unplug(output, event->deadline_usec);
                break;
        case EVENT_DEVICE_FAILED:
                output_styled(output, STYLE_RED, "device error");
                output_format(output, ": ");
                output_text(output, STYLE_PLAIN, event->name);
                break;
        case EVENT_DAEMON_STARTED:
                output_styled(output, STYLE_GREEN, "started");
                break;
        case EVENT_DAEMON_STOPPED:
                output_styled(output, STYLE_RED, "not running");
                break;
        case EVENT_WATCHING:
                print_watching(output, event->inventory);
                break;
        default:
                g_assert_not_reached();
        }
        output_format(output, "\n");
}

/* The member of the object that has the event's name. */
static const char *name_member(EventKind kind) {
        switch (kind) {
        case EVENT_PROPERTY_CHANGED:
                return "Property";
        case EVENT_VIOLATION:
                return "Operation";
        case EVENT_DEVICE_FAILED:
                return "ErrorEvent";
        default:
                return "Interface";
        }
}

static void event_print_json(Output *output, GDateTime *now, const Event *event) {
        g_autofree char *time = value_format_utc(g_date_time_to_unix(now) * G_USEC_PER_SEC +
                                                 g_date_time_get_microsecond(now));
        g_autoptr(JsonNode) node = json_node_init_object(json_node_alloc(), NULL);
        JsonObject *object = json_object_new();

        json_node_take_object(node, object);
        json_object_set_string_member(object, "Time", time);
        json_object_set_string_member(object, "Event", kind_names[event->kind]);
        if (event->address)
                json_object_set_string_member(object, "Address", event->address);
        if (event->name)
                json_object_set_string_member(object, name_member(event->kind), event->name);
        if (event->old)
                json_object_set_member(object, "Old", json_node_copy(event->old));
        if (event->new)
                json_object_set_member(object, "New", json_node_copy(event->new));
        if (event->function)
                json_object_set_object_member(object, "Function", json_object_ref(event->function));
        if (event->details)
                json_object_set_object_member(object, "Details", json_object_ref(event->details));
        if (event->kind == EVENT_UNPLUG_REQUESTED)
                json_object_set_int_member(object, "DeadlineUsec",
                                           (gint64) MIN(event->deadline_usec, G_MAXINT64));
        if (event->inventory) {
                json_object_set_string_member(object, "Version", event->inventory->version);
                json_object_set_string_member(object, "Enforcement", event->inventory->enforcement);
                json_object_set_int_member(object, "FunctionCount",
                                           event->inventory->functions->len);
        }
        output_json(output, node, false);
}

void event_print(Context *context, const Event *event) {
        g_autoptr(GDateTime) now = g_date_time_new_now_local();

        if (context->json)
                event_print_json(&context->output, now, event);
        else
                print_line(&context->output, now, event);
}
