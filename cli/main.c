#include "cli/agent.h"
#include "cli/cleanup.h"
#include "cli/context.h"
#include "cli/function/subject.h"
#include "cli/options.h"
#include "cli/output/pager.h"
#include "cli/verbs/help.h"
#include "lib/standard-streams.h"

#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define TIMEOUT_DEFAULT_USEC (60 * G_USEC_PER_SEC)

/* The version of what --json prints: docs/schema/README.md says when it grows. */
#define SCHEMA_VERSION 1

static void print_version(Context *context) {
        g_autoptr(JsonObject) object = NULL;
        g_autoptr(JsonNode) node = NULL;

        if (!context->json) {
                output_format(&context->output, "vfwarden " VFWARDEN_VERSION "\n");
                return;
        }
        object = json_object_new();
        json_object_set_string_member(object, "Version", VFWARDEN_VERSION);
        json_object_set_int_member(object, "SchemaVersion", SCHEMA_VERSION);
        node = json_node_init_object(json_node_alloc(), object);
        output_json(&context->output, node, true);
}

static ExitCode usage_error(void) {
        print_usage_hint();
        return EXIT_CODE_USAGE;
}

/* Known before the options are parsed, for what is wrong with them is an error as well. */
static bool wants_json(int argc, char **argv) {
        for (int i = 1; i < argc && !g_str_equal(argv[i], "--"); i++) {
                const char *argument = argv[i];

                /* Letters may stand together, and -H and -M take all that follows. */
                if (g_str_equal(argument, "--json") || (argument[0] == '-' && argument[1] != '-' &&
                                                        argument[strcspn(argument, "jHM")] == 'j'))
                        return true;
        }
        return false;
}

static ExitCode run_verb(Context *context, const CommandLine *line) {
        const Verb *verb;
        char **words = line->values;

        if (line->count == 0) {
                print_error("No command given; see \"vfwarden --help\"");
                return EXIT_CODE_USAGE;
        }
        verb = verb_find_or_complain(words[0]);
        if (!verb)
                return usage_error();
        if (line->count > 1 && g_str_has_prefix(verb->arguments, "ADDRESS"))
                subject_note(context, words[1]);
        if (!options_apply(context, verb, line) ||
            !verb_check_count(verb, line->count - 1, words + 1))
                return usage_error();
        context->output.quiet = context->quiet && verb->acts && !context->json;
        context->pages = verb->pages;
        return verb->run(context, words + 1);
}

static ExitCode main_run(Context *context, int argc, char **argv, CommandLine *line) {
        bool parsed = options_parse(context, argc, argv, line);

        if (!parsed)
                return usage_error();
        output_init(&context->output, STDOUT_FILENO, context->color);
        context->output.full = context->full;
        if (context->quiet)
                report_be_quiet();
        if (context->help)
                return help_run(context, line->values);
        if (!context->version)
                return run_verb(context, line);
        print_version(context);
        return EXIT_CODE_DONE;
}

static int write_output(Context *context) {
        if (!context->output.buffer)
                return 0;
        if ((context->pages || context->help) && !context->no_pager &&
            pager_wanted(&context->output))
                return pager_flush(&context->output);
        return output_flush(&context->output);
}

int main(int argc, char **argv) {
        Context context = { .legend = true,
                            .ask_password = true,
                            .timeout_usec = TIMEOUT_DEFAULT_USEC };
        g_autoptr(GPtrArray) copies = g_ptr_array_new_with_free_func(g_free);
        _cleanup_(command_line_clear) CommandLine line = { 0 };
        ExitCode code;
        int r;

        if (standard_streams_open() < 0)
                return EXIT_CODE_FAILED;
        (void) setlocale(LC_ALL, "");
        /* A reader that has had enough, as head, is seen by what write() returns. */
        context.sigpipe_ignored = signal(SIGPIPE, SIG_IGN) == SIG_IGN;

        report_begin(wants_json(argc, argv));
        context.copies = copies;
        code = main_run(&context, argc, argv, &line);
        r = write_output(&context);
        if (r < 0 && r != -EPIPE) {
                print_error("Cannot write the output: %s", g_strerror(-r));
                code = EXIT_CODE_FAILED;
        }

        agent_end(&context.agent);
        report_end(code, context.address);
        output_done(&context.output);
        sd_bus_flush_close_unref(context.bus);
        g_free(context.address);
        return code;
}
