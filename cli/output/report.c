#include "cli/output/report.h"

#include "cli/output/output.h"

#include <stdio.h>
#include <unistd.h>

static struct {
        bool json, quiet;
        char *name, *message; /* of the first error, NULL before it */
        GPtrArray *hints;     /* what followed */
} report;

void report_begin(bool json) {
        report.json = json;
}

void report_be_quiet(void) {
        report.quiet = true;
}

static void print_object(JsonObject *object) {
        g_autoptr(JsonNode) node = json_node_init_object(json_node_alloc(), object);
        Output output;

        output_init(&output, STDERR_FILENO, COLOR_NEVER);
        output_json(&output, node, false);
        (void) output_flush(&output); /* there is nowhere else to say it */
        output_done(&output);
}

static void set_text(JsonObject *object, const char *member, const char *text) {
        g_autofree char *valid = g_utf8_make_valid(text, -1);

        json_object_set_string_member(object, member, valid);
}

void report_end(ExitCode code, const char *address) {
        g_autoptr(JsonObject) object = NULL;

        if (report.message && code != EXIT_CODE_DONE) {
                JsonArray *hints = json_array_new();

                object = json_object_new();
                set_text(object, "Error", report.name ? report.name : exit_code_error_name(code));
                set_text(object, "Message", report.message);
                for (guint i = 0; report.hints && i < report.hints->len; i++) {
                        g_autofree char *hint = g_utf8_make_valid(report.hints->pdata[i], -1);

                        json_array_add_string_element(hints, hint);
                }
                json_object_set_array_member(object, "Hints", hints);
                set_text(object, "Address", address ? address : "");
                json_object_set_int_member(object, "ExitCode", code);
                print_object(object);
        }
        g_clear_pointer(&report.name, g_free);
        g_clear_pointer(&report.message, g_free);
        g_clear_pointer(&report.hints, g_ptr_array_unref);
}

/* A message of several lines stays one: a configuration may have several faults. */
static void print_text(const char *message) {
        g_auto(GStrv) lines = g_strsplit(message, "\n", -1);

        for (char **line = lines; *line; line++) {
                g_autofree char *safe = output_escape_for(g_get_charset(NULL), *line);

                fprintf(stderr, "%s%s\n", line == lines ? "vfwarden: " : "          ", safe);
        }
}

static void report_take(const char *name, bool hint, const char *format, va_list arguments) {
        g_autofree char *message = g_strchomp(g_strdup_vprintf(format, arguments));

        if (!report.json) {
                print_text(message);
                return;
        }
        if (!report.message && !hint) {
                report.message = g_steal_pointer(&message);
                report.name = name && g_str_has_prefix(name, "org.") ? g_strdup(name) : NULL;
                return;
        }
        if (!report.hints)
                report.hints = g_ptr_array_new_with_free_func(g_free);
        g_ptr_array_add(report.hints, g_steal_pointer(&message));
}

void print_error(const char *format, ...) {
        va_list arguments;

        va_start(arguments, format);
        report_take(NULL, false, format, arguments);
        va_end(arguments);
}

void print_named_error(const char *name, const char *format, ...) {
        va_list arguments;

        va_start(arguments, format);
        report_take(name, false, format, arguments);
        va_end(arguments);
}

void print_hint(const char *format, ...) {
        va_list arguments;

        if (report.quiet)
                return;
        va_start(arguments, format);
        report_take(NULL, true, format, arguments);
        va_end(arguments);
}

void print_usage_hint(void) {
        static const char hint[] = "Try \"vfwarden --help\".";

        if (report.json)
                print_hint("%s", hint);
        else if (!report.quiet)
                fprintf(stderr, "%s\n", hint);
}

void print_warning(const char *format, ...) {
        g_autoptr(JsonObject) object = NULL;
        va_list arguments;

        va_start(arguments, format);
        g_autofree char *message = g_strdup_vprintf(format, arguments);
        va_end(arguments);

        if (!report.json) {
                print_text(message);
                return;
        }
        object = json_object_new();
        set_text(object, "Warning", message);
        print_object(object);
}
