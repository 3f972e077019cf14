/* log: what happened to functions and who did it, from the journal. The daemon's messages about a
 * function have VFWARDEN_ADDRESS=. */
#include "cli/arguments.h"
#include "cli/client.h"
#include "cli/function/subject.h"
#include "cli/value.h"
#include "cli/verbs.h"

#include <string.h>
#include <syslog.h>
#include <systemd/sd-journal.h>

#define LINES_DEFAULT 1000

typedef struct JournalEntry {
        char *message, *address; /* NULL for an entry that has none */
        uint64_t usec;
        int priority;
} JournalEntry;

static void journal_entry_clear(JournalEntry *entry) {
        g_free(entry->message);
        g_free(entry->address);
}

static void close_journal(sd_journal **journal) {
        sd_journal_close(*journal);
}

/* The value of a field as text, the caller's, or NULL. */
static char *read_field(sd_journal *journal, const char *field) {
        const void *data;
        size_t length, skip = strlen(field) + 1;

        if (sd_journal_get_data(journal, field, &data, &length) < 0 || length < skip)
                return NULL;
        return g_utf8_make_valid((const char *) data + skip, (gssize) (length - skip));
}

static int read_entry(sd_journal *journal, JournalEntry *ret) {
        g_autofree char *priority = read_field(journal, "PRIORITY");
        int r = sd_journal_get_realtime_usec(journal, &ret->usec);

        if (r < 0)
                return r;
        ret->message = read_field(journal, "MESSAGE");
        ret->address = read_field(journal, "VFWARDEN_ADDRESS");
        ret->priority = priority && g_ascii_isdigit(priority[0]) ? priority[0] - '0' : LOG_INFO;
        return 0;
}

static void print_entry(Output *output, const JournalEntry *entry) {
        g_autoptr(GDateTime) when =
                g_date_time_new_from_unix_local((gint64) (entry->usec / G_USEC_PER_SEC));
        g_autofree char *time = when ? g_date_time_format(when, "%Y-%m-%d %H:%M:%S") : NULL;

        output_format(output, "%s  ", time ? time : "");
        output_text(output,
                    entry->priority <= LOG_ERR       ? STYLE_RED
                    : entry->priority <= LOG_WARNING ? STYLE_YELLOW
                                                     : STYLE_PLAIN,
                    entry->message ? entry->message : "");
        output_format(output, "\n");
}

/* One object on a line, as monitor has it. */
static void print_entry_json(Output *output, const JournalEntry *entry) {
        g_autofree char *time = value_format_utc((gint64) entry->usec);
        JsonObject *object = json_object_new();
        g_autoptr(JsonNode) node = json_node_init_object(json_node_alloc(), object);

        json_object_unref(object);
        json_object_set_string_member(object, "Time", time);
        json_object_set_string_member(object, "Address", entry->address ? entry->address : "");
        json_object_set_int_member(object, "Priority", entry->priority);
        json_object_set_string_member(object, "Message", entry->message ? entry->message : "");
        output_json(output, node, false);
}

/* What the unit logged, and not what somebody else logs in its name: the journal itself sets
 * _SYSTEMD_UNIT=. Of no function, if there are no addresses. */
static int add_matches(sd_journal *journal, const GPtrArray *addresses) {
        int r = sd_journal_add_match(journal, "_SYSTEMD_UNIT=" CLIENT_UNIT, 0);

        if (r >= 0)
                r = sd_journal_add_match(journal, "SYSLOG_IDENTIFIER=vfwardend", 0);
        for (guint i = 0; r >= 0 && addresses && i < addresses->len; i++) {
                g_autofree char *match =
                        g_strconcat("VFWARDEN_ADDRESS=", addresses->pdata[i], NULL);

                r = sd_journal_add_match(journal, match, 0);
        }
        return r;
}

/* Goes to the first of the last `lines` entries, so that the next one is it. */
static int seek(sd_journal *journal, uint64_t lines) {
        int r = sd_journal_seek_tail(journal);

        return r < 0 ? r : sd_journal_previous_skip(journal, lines);
}

static int print_entries(Context *context, sd_journal *journal, guint *ret_n) {
        int r = seek(journal, context->lines);

        for (*ret_n = 0; r > 0; r = sd_journal_next(journal)) {
                __attribute__((cleanup(journal_entry_clear))) JournalEntry entry = { NULL };

                r = read_entry(journal, &entry);
                if (r < 0)
                        return r;
                if (context->json)
                        print_entry_json(&context->output, &entry);
                else
                        print_entry(&context->output, &entry);
                (*ret_n)++;
        }
        return r;
}

static ExitCode log_print(Context *context, const GPtrArray *addresses) {
        __attribute__((cleanup(close_journal))) sd_journal *journal = NULL;
        guint n = 0;
        int r = context->directory
                        ? sd_journal_open_directory(&journal, context->directory, 0)
                        : sd_journal_open(&journal, SD_JOURNAL_LOCAL_ONLY | SD_JOURNAL_SYSTEM);

        if (r >= 0)
                r = add_matches(journal, addresses);
        if (r >= 0)
                r = print_entries(context, journal, &n);
        if (r < 0) {
                print_error("Cannot read the journal: %s", g_strerror(-r));
                return r == -EACCES || r == -EPERM ? EXIT_CODE_ACCESS_DENIED : EXIT_CODE_FAILED;
        }
        if (n == 0 && context->legend && !context->json)
                print_hint("The journal has nothing. It shows messages of services to root and to "
                           "the groups adm and systemd-journal only");
        return EXIT_CODE_DONE;
}

static ExitCode run_log(Context *context, char **arguments) {
        g_autoptr(GPtrArray) addresses = NULL;
        ExitCode code;

        if (context_is_elsewhere(context)) {
                print_error("log reads the journal of this host: it takes no -H and no -M");
                return EXIT_CODE_USAGE;
        }
        if (context->lines == 0)
                context->lines = LINES_DEFAULT;
        if (arguments[0]) {
                code = subject_find_all(context, arguments, &addresses);
                if (code != EXIT_CODE_DONE)
                        return code;
        }
        return log_print(context, addresses);
}

static bool read_lines(Context *context, const char *value) {
        if (g_ascii_string_to_unsigned(value, 10, 1, G_MAXUINT32, &context->lines, NULL))
                return true;
        print_error("--lines takes a number above 0, not '%s'", value);
        return false;
}

static const Option log_options[] = {
        { .name = "lines",
          .value = "NUMBER",
          .read = read_lines,
          .help = "the last NUMBER messages (1000)" },
        { .name = "directory",
          .value = "DIRECTORY",
          .member = offsetof(Context, directory),
          .help = "of the journal in this directory" },
        { NULL },
};

const Verb verb_log = {
        .name = "log",
        .arguments = "[ADDRESS...]",
        .max = INT_MAX,
        .run = run_log,
        .help = "What happened to it and who did it, from the journal",
        .options = log_options,
        .pages = true,
};
