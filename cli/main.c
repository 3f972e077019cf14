#include "cli/arguments.h"
#include "cli/cleanup.h"
#include "cli/context.h"
#include "cli/verbs.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
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
        { "list", "", 0, 0, verb_list, "All PCI functions, VFs below their physical one" },
        { "show", "ADDRESS", 1, 1, verb_show, "Everything known about one function" },
        { "status", "", 0, 0, verb_status, "The daemon, and how much is in use and locked" },
        { "monitor", "", 0, 0, verb_monitor, "A line for each change, until interrupted" },
        { "why", "ADDRESS [OPERATION]", 1, 2, verb_why,
          "What stands against it, and what to do about that" },
        { "users", "[ADDRESS]", 0, 1, verb_users, "The processes that have functions open" },
        { "inhibitors", "", 0, 0, verb_inhibitors, "Who keeps operations from being done" },
        { "inhibit", "ADDRESS -- COMMAND...", 0, INT_MAX, verb_inhibit,
          "Keep operations from being done while COMMAND runs" },
        { "open", "ADDRESS -- COMMAND...", 0, INT_MAX, verb_open,
          "Run COMMAND with it opened through VFIO" },
        { "bind", "ADDRESS [DRIVER]", 1, 2, verb_bind,
          "Bind it to DRIVER, or to the kernel's choice" },
        { "unbind", "ADDRESS", 1, 1, verb_unbind, "Unbind it from its driver" },
        { "reset", "ADDRESS", 1, 1, verb_reset, "Reset it" },
        { "set-vfs", "ADDRESS COUNT", 2, 2, verb_set_vfs, "Enable so many virtual functions" },
        { "set-autoprobe", "ADDRESS yes|no", 2, 2, verb_set_autoprobe,
          "Whether new virtual functions get a driver" },
        { "unplug", "ADDRESS", 1, 1, verb_unplug,
          "Ask who holds it to let it go, and take it away" },
        { "cancel-unplug", "ADDRESS", 1, 1, verb_cancel_unplug, "Take such a request back" },
        { "io", "load|store ADDRESS SPACE OFFSET LENGTH|HEXBYTES", 5, 5, verb_io,
          "Load bytes from it, or store bytes to it" },
        { "lock", "ADDRESS [WHY]", 1, 2, verb_lock,
          "Close the files that remove, reset or reconfigure it" },
        { "unlock", "ADDRESS", 1, 1, verb_unlock,
          "Take such a lock back, and tell what still locks" },
        { "release-all", "", 0, 0, verb_release_all,
          "Open all closed files, before vfwarden is removed" },
        { "reload", "", 0, 0, verb_reload, "Have the daemon read its configuration again" },
        { "libvirt-hook", "DOMAIN OPERATION SUB-OPERATION EXTRA", 0, 4, verb_libvirt_hook,
          "What libvirt runs: guard a domain's functions" },
};

enum {
        OPTION_VERSION = 0x100,
        OPTION_JSON,
        OPTION_NO_LEGEND,
        OPTION_COLOR,
        /* Those of one verb, see below. */
        OPTION_SRIOV,
        OPTION_WHAT,
        OPTION_WHO,
        OPTION_WHY,
        OPTION_LIST,
        OPTION_OVERRIDE,
        OPTION_TIMEOUT,
        OPTION_INSIST,
        OPTION_UNGUARDED,
};

static const struct option options[] = {
        { "help", no_argument, NULL, 'h' },
        { "version", no_argument, NULL, OPTION_VERSION },
        { "host", required_argument, NULL, 'H' },
        { "json", no_argument, NULL, OPTION_JSON },
        { "no-legend", no_argument, NULL, OPTION_NO_LEGEND },
        { "color", required_argument, NULL, OPTION_COLOR },
        { "sriov", no_argument, NULL, OPTION_SRIOV },
        { "what", required_argument, NULL, OPTION_WHAT },
        { "who", required_argument, NULL, OPTION_WHO },
        { "why", required_argument, NULL, OPTION_WHY },
        { "list", no_argument, NULL, OPTION_LIST },
        { "override", no_argument, NULL, OPTION_OVERRIDE },
        { "timeout", required_argument, NULL, OPTION_TIMEOUT },
        { "insist", no_argument, NULL, OPTION_INSIST },
        { "unguarded", required_argument, NULL, OPTION_UNGUARDED },
        { NULL, 0, NULL, 0 },
};

/* A verb that ignored an option would do another thing than was asked for. */
static const struct {
        int option;
        const char *verb;
} verb_options[] = {
        { OPTION_SRIOV, "list" },
        { OPTION_WHAT, "inhibit" },
        { OPTION_WHO, "inhibit" },
        { OPTION_WHY, "inhibit" },
        { OPTION_LIST, "inhibit" },
        { OPTION_OVERRIDE, "set-vfs" },
        { OPTION_TIMEOUT, "unplug" },
        { OPTION_INSIST, "unplug" },
        { OPTION_UNGUARDED, "libvirt-hook" },
};

#define TIMEOUT_DEFAULT_USEC (60 * G_USEC_PER_SEC)
#define USAGE_COLUMNS        23

static void print_help(Output *output) {
        output_format(output,
                      "vfwarden [OPTION]... VERB [ARGUMENT]...\n\n"
                      "Shows the PCI functions of a host that virtual machines may hold, "
                      "keeps them\nfrom being pulled out from under their users, and takes them "
                      "away in order.\n\nVerbs:\n");
        for (size_t i = 0; i < G_N_ELEMENTS(verbs); i++) {
                g_autofree char *usage =
                        g_strdup_printf("%s %s", verbs[i].name, verbs[i].arguments);

                if (strlen(usage) > USAGE_COLUMNS)
                        output_format(output, "  %s\n  %*s  %s\n", usage, USAGE_COLUMNS, "",
                                      verbs[i].help);
                else
                        output_format(output, "  %-*s  %s\n", USAGE_COLUMNS, usage, verbs[i].help);
        }
        output_format(
                output,
                "\nOptions:\n"
                "  -h, --help          Print this text\n"
                "      --version       Print this command's version; status has the daemon's\n"
                "  -H, --host=HOST     Ask the daemon of [USER@]HOST, over ssh\n"
                "      --json          Print JSON; monitor prints one object per line\n"
                "      --no-legend     No headings, and no line that says there is nothing\n"
                "      --color=WHEN    auto (only on a terminal), always or never\n"
                "      --sriov         list: only physical and virtual functions\n"
                "      --what=OPERATIONS\n"
                "                      inhibit: which, joined by \":\" (all but open)\n"
                "      --who=TEXT      inhibit: who inhibits (the name of COMMAND)\n"
                "      --why=TEXT      inhibit: why (COMMAND and its arguments)\n"
                "      --list          inhibit: as the verb inhibitors\n"
                "      --override      set-vfs: pass over the locks of a user-space driver and\n"
                "                      of an administrator\n"
                "      --timeout=TIME  unplug: how long to wait: 500ms, 30s, 5min, 1h (1min)\n"
                "      --insist        unplug: have the kernel ask, too, with no way back\n"
                "      --unguarded=allow|refuse\n"
                "                      libvirt-hook: whether a domain starts that cannot be\n"
                "                      guarded, as without a daemon (refuse)\n"
                "\nADDRESS is [DOMAIN:]BUS:DEVICE.FUNCTION as lspci has it: 0000:01:00.0, "
                "01:00.0\n"
                "OPERATION is set-num-vfs, set-autoprobe, bind, unbind, reset, remove, "
                "power-off,\ndisable-pasid or open\n"
                "SPACE is 0 to 5, a BAR, or config; OFFSET and LENGTH are decimal or 0x...\n"
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
static bool parse_options(Context *context, int argc, char **argv, unsigned *ret_given,
                          ExitCode *ret_code) {
        ColorMode color = COLOR_AUTO;
        bool help = false, version = false;
        int c;

        opterr = 0;
        while ((c = getopt_long(argc, argv, ":hH:", options, NULL)) >= 0) {
                if (c >= OPTION_SRIOV)
                        *ret_given |= 1U << (c - OPTION_SRIOV);
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
                case OPTION_SRIOV:
                        context->sriov = true;
                        break;
                case OPTION_WHAT:
                        context->what = optarg;
                        break;
                case OPTION_WHO:
                        context->who = optarg;
                        break;
                case OPTION_WHY:
                        context->why = optarg;
                        break;
                case OPTION_LIST:
                        context->list = true;
                        break;
                case OPTION_OVERRIDE:
                        context->override = true;
                        break;
                case OPTION_TIMEOUT:
                        if (!argument_read_timeout(optarg, &context->timeout_usec)) {
                                *ret_code = usage_error();
                                return false;
                        }
                        break;
                case OPTION_INSIST:
                        context->insist = true;
                        break;
                case OPTION_UNGUARDED:
                        if (!argument_read_unguarded(optarg, &context->allow_unguarded)) {
                                *ret_code = usage_error();
                                return false;
                        }
                        break;
                default:
                        *ret_code = option_error(c, argv);
                        return false;
                }
        }
        /* getopt_long() leaves it there, before what is no option. */
        context->separated = optind > 1 && g_str_equal(argv[optind - 1], "--");

        output_init(&context->output, STDOUT_FILENO, color);
        if (help)
                print_help(&context->output);
        else if (version)
                output_format(&context->output, "vfwarden " VFWARDEN_VERSION "\n");
        *ret_code = EXIT_CODE_DONE;
        return !help && !version;
}

static const char *option_name(int option) {
        for (const struct option *o = options; o->name; o++)
                if (o->val == option)
                        return o->name;
        g_assert_not_reached();
}

/* What has to follow the `n` arguments that there are, fewer than the verb needs. */
static const char *missing(const Verb *verb, int n) {
        if (n == 0 && g_str_has_prefix(verb->arguments, "ADDRESS"))
                return "an address";
        return verb->min - n == 1 ? "one argument more" : "more arguments";
}

/* Whether the options in `given` are the verb's, and there are as many arguments as it takes. */
static bool check_verb(const Verb *verb, unsigned given, int n, char **arguments) {
        for (size_t i = 0; i < G_N_ELEMENTS(verb_options); i++)
                if ((given & 1U << (verb_options[i].option - OPTION_SRIOV)) &&
                    !g_str_equal(verb_options[i].verb, verb->name)) {
                        print_error("--%s is an option of %s, not of %s",
                                    option_name(verb_options[i].option), verb_options[i].verb,
                                    verb->name);
                        return false;
                }
        if (n < verb->min) {
                print_error("%s needs %s: vfwarden %s %s", verb->name, missing(verb, n), verb->name,
                            verb->arguments);
                return false;
        }
        if (n > verb->max) {
                print_error("%s does not take '%s': vfwarden %s%s%s", verb->name,
                            arguments[verb->max], verb->name, verb->max > 0 ? " " : "",
                            verb->arguments);
                return false;
        }
        return true;
}

static ExitCode run_verb(Context *context, unsigned given, int n, char **arguments) {
        if (n == 0) {
                print_error("What is to be done? A verb is missing");
                return usage_error();
        }

        for (size_t i = 0; i < G_N_ELEMENTS(verbs); i++)
                if (g_str_equal(verbs[i].name, arguments[0])) {
                        if (!check_verb(&verbs[i], given, n - 1, arguments + 1))
                                return usage_error();
                        return verbs[i].run(context, arguments + 1);
                }

        print_error("There is no verb '%s'", arguments[0]);
        return usage_error();
}

int main(int argc, char **argv) {
        Context context = { .legend = true, .timeout_usec = TIMEOUT_DEFAULT_USEC };
        unsigned given = 0; /* of verb_options, 1 << (option - OPTION_SRIOV) */
        ExitCode code;
        int r;

        (void) setlocale(LC_ALL, "");
        /* A reader that has had enough, as head, is seen by what write() returns. */
        context.sigpipe_ignored = signal(SIGPIPE, SIG_IGN) == SIG_IGN;

        if (parse_options(&context, argc, argv, &given, &code))
                code = run_verb(&context, given, argc - optind, argv + optind);
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
