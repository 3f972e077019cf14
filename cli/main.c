#include "cli/address.h"
#include "cli/agent.h"
#include "cli/arguments.h"
#include "cli/cleanup.h"
#include "cli/context.h"
#include "cli/suggest.h"
#include "cli/verbs.h"
#include "lib/standard-streams.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
        OPTION_VERSION = 0x100,
        OPTION_JSON,
        OPTION_NO_LEGEND,
        OPTION_COLOR,
        OPTION_NO_ASK_PASSWORD,
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
        { "no-ask-password", no_argument, NULL, OPTION_NO_ASK_PASSWORD },
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

static void print_help(Output *output) {
        output_format(output,
                      "vfwarden [OPTION]... VERB [ARGUMENT]...\n\n"
                      "Shows the PCI functions of a host that virtual machines may hold, "
                      "keeps them\nfrom being pulled out from under their users, and takes them "
                      "away in order.\n\nVerbs:\n");
        verbs_print_help(output);
        output_format(
                output,
                "\nOptions:\n"
                "  -h, --help          Print this text\n"
                "      --version       Print this command's version; status has the daemon's\n"
                "  -H, --host=HOST     Ask the daemon of [USER@]HOST, over ssh\n"
                "      --json          Print JSON; monitor prints one object per line\n"
                "      --no-legend     No headings, and no line that says there is nothing\n"
                "      --color=WHEN    auto (only on a terminal), always or never\n"
                "      --no-ask-password\n"
                "                      Let polkit ask for no password\n"
                "      --sriov         list: only physical and virtual functions\n"
                "      --what=OPERATIONS\n"
                "                      inhibit: which, joined by \":\" (all but open)\n"
                "      --who=TEXT      inhibit: who inhibits (the name of COMMAND)\n"
                "      --why=TEXT      inhibit: why (COMMAND and its arguments)\n"
                "      --list          inhibit: as the verb inhibitors\n"
                "      --override      set-vfs: pass over the locks of a user-space driver and\n"
                "                      of an administrator\n"
                "      --timeout=TIME  unplug: how long to wait: 500ms, 30s, 5min, 1h (1min)\n"
                "      --insist        unplug: have the kernel ask, too; cannot be cancelled\n"
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
        print_usage_hint();
        return EXIT_CODE_USAGE;
}

/* `argument` is not the name of an option, or begins several. */
static void unknown_option(const char *argument) {
        const char *names[G_N_ELEMENTS(options)], *meant;
        g_autofree char *given = g_strndup(argument + strlen("--"), strcspn(argument, "=") - 2);
        size_t n = 0;

        for (const struct option *o = options; o->name; o++)
                names[n++] = o->name;
        names[n] = NULL;
        meant = suggest_nearest(given, names);
        if (meant)
                print_error("There is no option %s; did you mean --%s?", argument, meant);
        else
                print_error("There is no option %s, or it can mean several", argument);
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
                unknown_option(argument);
        else if (optopt == 'h' || optopt >= OPTION_VERSION) /* a known one, so it is its value */
                print_error("Option %s takes no value", argument);
        else
                print_error("There is no option -%c", optopt);
        return usage_error();
}

/* Marks a value that getopt_long() would take for options: a negative number. */
#define VALUE_MARK '\001'

/* Replaces each such argument by a marked copy, which `copies` owns. What follows "--"
 * getopt_long() leaves alone. */
static void mark_values(int argc, char **argv, GPtrArray *copies) {
        for (int i = 1; i < argc && !g_str_equal(argv[i], "--"); i++) {
                if (argv[i][0] != VALUE_MARK && !(argv[i][0] == '-' && g_ascii_isdigit(argv[i][1])))
                        continue;
                argv[i] = g_strdup_printf("%c%s", VALUE_MARK, argv[i]);
                g_ptr_array_add(copies, argv[i]);
        }
}

static char *unmarked(char *value) {
        return value[0] == VALUE_MARK ? value + 1 : value;
}

/* Known before the options are parsed, for what is wrong with them is an error as well. */
static bool wants_json(int argc, char **argv) {
        for (int i = 1; i < argc && !g_str_equal(argv[i], "--"); i++)
                if (g_str_equal(argv[i], "--json"))
                        return true;
        return false;
}

/* Returns whether a verb is to be run; if not, `ret_code` is how the command ends. */
static bool parse_options(Context *context, int argc, char **argv, unsigned *ret_given,
                          ExitCode *ret_code) {
        ColorMode color = COLOR_AUTO;
        bool help = false, version = false;
        int c;

        opterr = 0;
        while ((c = getopt_long(argc, argv, ":hH:", options, NULL)) >= 0) {
                if (optarg)
                        optarg = unmarked(optarg);
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
                case OPTION_NO_ASK_PASSWORD:
                        context->ask_password = false;
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
        for (int i = optind; i < argc; i++)
                argv[i] = unmarked(argv[i]);
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

/* Whether the options in `given` are the verb's. */
static bool check_options(const Verb *verb, unsigned given) {
        for (size_t i = 0; i < G_N_ELEMENTS(verb_options); i++)
                if ((given & 1U << (verb_options[i].option - OPTION_SRIOV)) &&
                    !g_str_equal(verb_options[i].verb, verb->name)) {
                        print_error("--%s is an option of %s, not of %s",
                                    option_name(verb_options[i].option), verb_options[i].verb,
                                    verb->name);
                        return false;
                }
        return true;
}

static ExitCode run_verb(Context *context, unsigned given, int n, char **arguments) {
        const Verb *verb;
        const char *meant;

        if (n == 0) {
                print_error("No command given; see \"vfwarden --help\"");
                return EXIT_CODE_USAGE;
        }
        verb = verb_find(arguments[0]);
        if (!verb) {
                meant = verb_nearest(arguments[0]);
                print_error("There is no verb '%s'%s%s%s", arguments[0],
                            meant ? "; did you mean '" : "", meant ? meant : "", meant ? "'?" : "");
                return usage_error();
        }
        if (n > 1 && g_str_has_prefix(verb->arguments, "ADDRESS"))
                address_note(context, arguments[1]);
        if (!check_options(verb, given) || !verb_check_count(verb, n - 1, arguments + 1))
                return usage_error();
        return verb->run(context, arguments + 1);
}

int main(int argc, char **argv) {
        Context context = { .legend = true,
                            .ask_password = true,
                            .timeout_usec = TIMEOUT_DEFAULT_USEC };
        g_autoptr(GPtrArray) copies = g_ptr_array_new_with_free_func(g_free);
        unsigned given = 0; /* of verb_options, 1 << (option - OPTION_SRIOV) */
        ExitCode code;
        int r;

        if (standard_streams_open() < 0)
                return EXIT_CODE_FAILED;
        (void) setlocale(LC_ALL, "");
        /* A reader that has had enough, as head, is seen by what write() returns. */
        context.sigpipe_ignored = signal(SIGPIPE, SIG_IGN) == SIG_IGN;

        report_begin(wants_json(argc, argv));
        mark_values(argc, argv, copies);

        if (parse_options(&context, argc, argv, &given, &code))
                code = run_verb(&context, given, argc - optind, argv + optind);
        r = context.output.buffer ? output_flush(&context.output) : 0;
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
