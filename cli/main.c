#include "cli/cleanup.h"
#include "cli/context.h"
#include "cli/verbs.h"

#include <errno.h>
#include <getopt.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

typedef struct Verb {
        const char *name;
        const char *arguments; /* as --help shows them */
        int min, max;
        ExitCode (*run)(Context *context, char **arguments);
        const char *help;
} Verb;

static const Verb verbs[] = {
        { "list", "", 0, 0, verb_list, "All PCI functions, virtual ones below their physical one" },
        { "show", "ADDRESS", 1, 1, verb_show, "Everything known about one function" },
        { "status", "", 0, 0, verb_status,
          "The daemon, and how many functions are locked or in use" },
        { "monitor", "", 0, 0, verb_monitor, "A line for each change, until interrupted" },
        { "lock", "ADDRESS [WHY]", 1, 2, verb_lock,
          "Close the files that remove, reset or reconfigure it" },
        { "unlock", "ADDRESS", 1, 1, verb_unlock,
          "Take such a lock back, and tell what still locks" },
        { "release-all", "", 0, 0, verb_release_all,
          "Open all closed files, before vfwarden is removed" },
        { "reload", "", 0, 0, verb_reload, "Have the daemon read its configuration again" },
};

enum {
        OPTION_VERSION = 0x100,
        OPTION_JSON,
        OPTION_SRIOV,
        OPTION_NO_LEGEND,
        OPTION_COLOR,
};

static const struct option options[] = {
        { "help", no_argument, NULL, 'h' },
        { "version", no_argument, NULL, OPTION_VERSION },
        { "host", required_argument, NULL, 'H' },
        { "json", no_argument, NULL, OPTION_JSON },
        { "sriov", no_argument, NULL, OPTION_SRIOV },
        { "no-legend", no_argument, NULL, OPTION_NO_LEGEND },
        { "color", required_argument, NULL, OPTION_COLOR },
        { NULL, 0, NULL, 0 },
};

static void print_help(Output *output) {
        output_format(output,
                      "vfwarden [OPTION]... VERB [ARGUMENT]...\n\n"
                      "Shows the PCI functions of a host that virtual machines may hold, and "
                      "locks\nwhat must not change under them.\n\nVerbs:\n");
        for (size_t i = 0; i < G_N_ELEMENTS(verbs); i++) {
                g_autofree char *usage =
                        g_strdup_printf("%s %s", verbs[i].name, verbs[i].arguments);

                output_format(output, "  %-19s %s\n", usage, verbs[i].help);
        }
        output_format(
                output,
                "\nOptions:\n"
                "  -h, --help          Print this text\n"
                "      --version       Print this command's version; status has the daemon's\n"
                "  -H, --host=HOST     Ask the daemon of [USER@]HOST, over ssh\n"
                "      --json          Print JSON; monitor prints one object per line\n"
                "      --sriov         list: only physical and virtual functions\n"
                "      --no-legend     No headings, and no line that says there is nothing\n"
                "      --color=WHEN    auto (only on a terminal), always or never\n"
                "\nADDRESS is [DOMAIN:]BUS:DEVICE.FUNCTION as lspci has it: 0000:01:00.0, "
                "01:00.0\n"
                "\nExit codes:\n");
        for (ExitCode code = 0; code < _EXIT_CODE_MAX; code++)
                output_format(output, "  %2d  %s\n", code, exit_code_description(code));
        output_format(output, "\nThe manual page has more: man vfwarden\n");
}

static ExitCode usage_error(void) {
        fprintf(stderr, "Try \"vfwarden --help\".\n");
        return EXIT_CODE_USAGE;
}

/* What getopt_long() stumbled over: it is silent, for its own message begins with the path that the
 * command was started by, and does not escape. */
static ExitCode option_error(int c, char **argv) {
        const char *argument = argv[optind - 1];

        if (c == ':' && g_str_has_prefix(argument, "--"))
                print_error("Option %s needs a value", argument);
        else if (c == ':')
                print_error("Option -%c needs a value", optopt);
        else if (optopt == 0)
                print_error("There is no option %s, or it can mean several", argument);
        else if (optopt == 'h' || optopt >= OPTION_VERSION) /* a known one, so it is its value */
                print_error("Option %s takes no value", argument);
        else
                print_error("There is no option -%c", optopt);
        return usage_error();
}

/* Returns whether a verb is to be run; if not, `ret_code` is how the command ends. */
static bool parse_options(Context *context, int argc, char **argv, ExitCode *ret_code) {
        ColorMode color = COLOR_AUTO;
        bool help = false, version = false;
        int c;

        opterr = 0;
        while ((c = getopt_long(argc, argv, ":hH:", options, NULL)) >= 0)
                switch (c) {
                case 'h':
                        help = true;
                        break;
                case OPTION_VERSION:
                        version = true;
                        break;
                case 'H':
                        context->host = optarg;
                        break;
                case OPTION_JSON:
                        context->json = true;
                        break;
                case OPTION_SRIOV:
                        context->sriov = true;
                        break;
                case OPTION_NO_LEGEND:
                        context->legend = false;
                        break;
                case OPTION_COLOR:
                        color = color_mode_from_string(optarg);
                        if (color < 0) {
                                print_error("--color takes auto, always or never, not '%s'",
                                            optarg);
                                *ret_code = usage_error();
                                return false;
                        }
                        break;
                default:
                        *ret_code = option_error(c, argv);
                        return false;
                }

        output_init(&context->output, STDOUT_FILENO, color);
        if (help)
                print_help(&context->output);
        else if (version)
                output_format(&context->output, "vfwarden " VFWARDEN_VERSION "\n");
        *ret_code = EXIT_CODE_DONE;
        return !help && !version;
}

static ExitCode run_verb(Context *context, int n, char **arguments) {
        if (n == 0) {
                print_error("What is to be done? A verb is missing");
                return usage_error();
        }

        for (size_t i = 0; i < G_N_ELEMENTS(verbs); i++) {
                const Verb *verb = &verbs[i];

                if (!g_str_equal(verb->name, arguments[0]))
                        continue;
                if (n - 1 < verb->min) {
                        print_error("%s needs an address: vfwarden %s %s", verb->name, verb->name,
                                    verb->arguments);
                        return usage_error();
                }
                if (n - 1 > verb->max) {
                        print_error("%s does not take '%s': vfwarden %s%s%s", verb->name,
                                    arguments[verb->max + 1], verb->name, verb->max > 0 ? " " : "",
                                    verb->arguments);
                        return usage_error();
                }
                if (context->sriov && verb->run != verb_list) {
                        print_error("--sriov is an option of list, not of %s", verb->name);
                        return usage_error();
                }
                return verb->run(context, arguments + 1);
        }

        print_error("There is no verb '%s'", arguments[0]);
        return usage_error();
}

int main(int argc, char **argv) {
        Context context = { .legend = true };
        ExitCode code;
        int r;

        (void) setlocale(LC_ALL, "");
        /* A reader that has had enough, as head, is seen by what write() returns. */
        (void) signal(SIGPIPE, SIG_IGN);

        if (parse_options(&context, argc, argv, &code))
                code = run_verb(&context, argc - optind, argv + optind);
        if (!context.output.buffer)
                return code;

        r = output_flush(&context.output);
        if (r < 0 && r != -EPIPE) {
                print_error("Cannot write the output: %s", g_strerror(-r));
                code = EXIT_CODE_FAILED;
        }

        output_done(&context.output);
        sd_bus_flush_close_unref(context.bus);
        return code;
}
