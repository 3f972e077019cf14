/* metrics: the counters of org.vfwarden1.Statistics, for a monitoring system. */
#include "cli/cleanup.h"
#include "cli/client.h"
#include "cli/inventory.h"
#include "cli/value.h"
#include "cli/verbs.h"

#include <string.h>

typedef struct Metric Metric;

typedef struct MetricsPage {
        Output *output;
        JsonObject *values; /* properties of Statistics */
        bool prometheus;    /* the format before OpenMetrics: a counter is named with its suffix */
} MetricsPage;

struct Metric {
        const char *name; /* without "vfwarden_" */
        const char *type;
        const char *property;
        const char *help;
        void (*print)(const MetricsPage *page, const Metric *metric);
        double scale;      /* what one of the property is, in the unit of the name */
        const char *label; /* of the keys of a dictionary */
};

/* --- samples */

static void print_name(const MetricsPage *page, const Metric *metric, const char *suffix) {
        output_format(page->output, "vfwarden_%s%s", metric->name, suffix);
}

/* Counts are whole, and those in seconds are not. '.' stands before decimals in every locale. */
static void print_number(const MetricsPage *page, gint64 value, double scale) {
        char text[G_ASCII_DTOSTR_BUF_SIZE];

        if (scale == 1)
                output_format(page->output, " %" G_GINT64_FORMAT "\n", value);
        else
                output_format(page->output, " %s\n",
                              g_ascii_formatd(text, sizeof(text), "%.6f", (double) value * scale));
}

static const char *metric_suffix(const Metric *metric) {
        return g_str_equal(metric->type, "counter") ? "_total" : "";
}

static void print_single(const MetricsPage *page, const Metric *metric) {
        print_name(page, metric, metric_suffix(metric));
        print_number(page, function_integer(page->values, metric->property, 0), metric->scale);
}

/* Labels are words of the contract; all others are left out, so their number is bounded whatever a
 * daemon says. */
static bool is_word(const char *text) {
        return *text && strspn(text, "abcdefghijklmnopqrstuvwxyz-") == strlen(text);
}

static void print_by_key(const MetricsPage *page, const Metric *metric) {
        JsonObject *values = function_object(page->values, metric->property);
        JsonObjectIter iterator;
        const char *key;
        JsonNode *value;

        if (!values)
                return;
        json_object_iter_init_ordered(&iterator, values);
        while (json_object_iter_next_ordered(&iterator, &key, &value)) {
                if (!is_word(key) || json_node_get_value_type(value) != G_TYPE_INT64)
                        continue;
                print_name(page, metric, metric_suffix(metric));
                output_format(page->output, "{%s=\"%s\"}", metric->label, key);
                print_number(page, json_node_get_int(value), metric->scale);
        }
}

/* Rows of [OPERATION,] RESULT, CALLS, MICROSECONDS, as the property has them. */
typedef struct CallRow {
        const char *words[2];
        guint n_words;
        gint64 calls, usec;
} CallRow;

static bool read_row(JsonNode *node, guint n_words, CallRow *ret) {
        JsonArray *array = JSON_NODE_HOLDS_ARRAY(node) ? json_node_get_array(node) : NULL;

        if (!array || json_array_get_length(array) != n_words + 2)
                return false;
        for (guint i = 0; i < n_words + 2; i++) {
                GType type = json_node_get_value_type(json_array_get_element(array, i));

                if (type != (i < n_words ? G_TYPE_STRING : G_TYPE_INT64))
                        return false;
        }
        *ret = (CallRow){ .n_words = n_words };
        for (guint i = 0; i < n_words; i++) {
                ret->words[i] = json_array_get_string_element(array, i);
                if (!is_word(ret->words[i]))
                        return false;
        }
        ret->calls = json_array_get_int_element(array, n_words);
        ret->usec = json_array_get_int_element(array, n_words + 1);
        return true;
}

static void print_row(const MetricsPage *page, const Metric *metric, const CallRow *row,
                      const char *suffix, gint64 value, double scale) {
        print_name(page, metric, suffix);
        if (row->n_words == 2)
                output_format(page->output, "{operation=\"%s\",result=\"%s\"}", row->words[0],
                              row->words[1]);
        else
                output_format(page->output, "{result=\"%s\"}", row->words[0]);
        print_number(page, value, scale);
}

static void print_calls(const MetricsPage *page, const Metric *metric) {
        JsonArray *rows = function_array(page->values, metric->property);
        guint n_words = g_str_equal(metric->property, "Operations") ? 2 : 1;

        for (guint i = 0; rows && i < json_array_get_length(rows); i++) {
                CallRow row;

                if (!read_row(json_array_get_element(rows, i), n_words, &row))
                        continue;
                print_row(page, metric, &row, "_count", row.calls, 1);
                print_row(page, metric, &row, "_sum", row.usec, metric->scale);
        }
}

/* --- the metrics */

#define USEC_IN_SECONDS 1e-6

static const Metric metrics[] = {
        { "start_time_seconds", "gauge", "StartedUsec", "When the daemon started, in Unix time.",
          print_single, USEC_IN_SECONDS, NULL },
        { "functions_in_use", "gauge", "FunctionsInUse", "Functions that are in use.", print_single,
          1, NULL },
        { "functions_locked", "gauge", "FunctionsLocked", "Functions that are locked.",
          print_single, 1, NULL },
        { "sessions", "gauge", "Sessions", "I/O sessions.", print_single, 1, NULL },
        { "leases", "gauge", "Leases", "Functions that were opened for a client.", print_single, 1,
          NULL },
        { "inhibitors", "gauge", "Inhibitors", "Inhibitors, counted by function.", print_single, 1,
          NULL },
        { "sessions_opened", "counter", "SessionsOpened", "I/O sessions that were opened.",
          print_single, 1, NULL },
        { "leases_opened", "counter", "LeasesOpened", "Functions that clients had opened for them.",
          print_single, 1, NULL },
        { "violations", "counter", "Violations", "Violations of locks.", print_by_key, 1,
          "operation" },
        { "operation_duration_seconds", "summary", "Operations",
          "Guarded operations by result, and how long they took.", print_calls, USEC_IN_SECONDS,
          NULL },
        { "unplug_duration_seconds", "summary", "Unplugs",
          "Unplugs by result, and how long they took.", print_calls, USEC_IN_SECONDS, NULL },
        { "lost_events", "counter", "LostEvents",
          "Times that all functions were read again for lost events.", print_single, 1, NULL },
        { "loop_turns", "counter", "LoopTurns", "Turns of the event loop.", print_single, 1, NULL },
        { "loop_long_turns", "counter", "LoopLongTurns",
          "Turns of the event loop of more than 20 ms of the processor.", print_single, 1, NULL },
        { "loop_busy_seconds", "counter", "LoopBusyUsec", "Time of all turns of the event loop.",
          print_single, USEC_IN_SECONDS, NULL },
        { "loop_longest_turn_seconds", "gauge", "LoopLongestUsec",
          "The longest turn of the event loop since the daemon started.", print_single,
          USEC_IN_SECONDS, NULL },
};

static void metric_print(const MetricsPage *page, const Metric *metric) {
        const char *suffix = page->prometheus ? metric_suffix(metric) : "";

        /* A daemon that is older than the command does not have it: not 0. */
        if (!json_object_has_member(page->values, metric->property))
                return;
        output_format(page->output, "# HELP vfwarden_%s%s %s\n# TYPE vfwarden_%s%s %s\n",
                      metric->name, suffix, metric->help, metric->name, suffix, metric->type);
        metric->print(page, metric);
}

static int read_statistics(Context *context, sd_bus_error *ret_error, JsonObject *values) {
        g_autoptr(sd_bus_message) reply = NULL;
        int r = client_call(context, CLIENT_ROOT, "org.freedesktop.DBus.Properties", "GetAll",
                            CALL_NO_AUTO_START, ret_error, &reply, "s", CLIENT_STATISTICS);

        return r < 0 ? r : value_read_properties(reply, values);
}

static ExitCode run_metrics(Context *context, char **arguments) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        g_autoptr(JsonObject) values = json_object_new();
        MetricsPage page = { &context->output, values, context->prometheus };
        int r = read_statistics(context, &error, values);

        if (sd_bus_error_has_name(&error, SD_BUS_ERROR_UNKNOWN_INTERFACE) ||
            sd_bus_error_has_name(&error, SD_BUS_ERROR_INVALID_ARGS)) {
                print_error("Cannot read the counters: this vfwardend is too old and has none");
                return EXIT_CODE_NOT_SUPPORTED;
        }
        if (r < 0)
                return client_fail(context, r, &error, "Cannot read the counters");
        if (context->json) {
                g_autoptr(JsonNode) node = json_node_init_object(json_node_alloc(), values);

                output_json(&context->output, node, true);
                return EXIT_CODE_DONE;
        }
        for (size_t i = 0; i < G_N_ELEMENTS(metrics); i++)
                metric_print(&page, &metrics[i]);
        if (!context->prometheus)
                output_format(&context->output, "# EOF\n");
        return EXIT_CODE_DONE;
}

static bool read_format(Context *context, const char *value) {
        context->prometheus = g_str_equal(value, "prometheus");
        if (context->prometheus || g_str_equal(value, "openmetrics"))
                return true;
        print_error("--format takes openmetrics or prometheus, not '%s'", value);
        return false;
}

static const Option metrics_options[] = {
        { .name = "format",
          .value = "FORMAT",
          .offers = "openmetrics|prometheus",
          .read = read_format,
          .help = "openmetrics, or prometheus, which node_exporter's text files have" },
        { NULL },
};

const Verb verb_metrics = {
        .name = "metrics",
        .arguments = "",
        .run = run_metrics,
        .help = "Counters of the daemon, as OpenMetrics",
        .options = metrics_options,
};
