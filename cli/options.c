#include "cli/options.h"

#include "cli/suggest.h"

#include <getopt.h>
#include <string.h>

#define HELP_COLUMN  22
#define LINE_COLUMNS 79

static bool read_no_legend(Context *context, const char *value) {
        context->legend = false;
        return true;
}

static bool read_no_ask_password(Context *context, const char *value) {
        context->ask_password = false;
        return true;
}

static bool read_color(Context *context, const char *value) {
        context->color = color_mode_from_string(value);
        if (context->color >= 0)
                return true;
        print_error("--color takes auto, always or never, not '%s'", value);
        return false;
}

const Option options_common[] = {
        { .name = "help",
          .letter = 'h',
          .member = offsetof(Context, help),
          .help = "Print this text; with a verb, that of the verb" },
        { .name = "version",
          .letter = 'V',
          .member = offsetof(Context, version),
          .help = "Print this command's version; status has the daemon's" },
        { .name = "host",
          .letter = 'H',
          .value = "HOST",
          .member = offsetof(Context, host),
          .help = "Ask the daemon of [USER@]HOST, over ssh" },
        { .name = "machine",
          .letter = 'M',
          .value = "MACHINE",
          .member = offsetof(Context, machine),
          .help = "Ask the daemon of a local container" },
        { .name = "json",
          .letter = 'j',
          .member = offsetof(Context, json),
          .help = "Print JSON; monitor prints one object per line" },
        { .name = "quiet",
          .letter = 'q',
          .member = offsetof(Context, quiet),
          .help = "Do not print what was done, and no hints" },
        { .name = "full",
          .letter = 'l',
          .member = offsetof(Context, full),
          .help = "Cut nothing to the width of the terminal" },
        { .name = "no-pager",
          .member = offsetof(Context, no_pager),
          .help = "Print to the terminal without a pager" },
        { .name = "no-legend",
          .read = read_no_legend,
          .help = "No headings, and no line that says there is nothing" },
        { .name = "color",
          .value = "WHEN",
          .offers = "auto|always|never",
          .read = read_color,
          .help = "auto (only on a terminal), always or never" },
        { .name = "no-ask-password",
          .read = read_no_ask_password,
          .help = "Let polkit ask for no password" },
        { NULL },
};

/* An option of one verb as it was given. */
typedef struct Given {
        const Option *option;
        const Verb *owner;
        const char *value;
} Given;

static bool option_read(const Option *option, Context *context, const char *value) {
        if (option->read)
                return option->read(context, value);
        if (option->value)
                *(const char **) ((char *) context + option->member) = value;
        else
                *(bool *) ((char *) context + option->member) = true;
        return true;
}

static const Option *options_find(const Option *table, const char *name) {
        option_foreach (option, table)
                if (g_str_equal(option->name, name))
                        return option;
        return NULL;
}

/* The values of long options for getopt_long(), which no letter has. */
#define LONG_OPTION 0x100

/* All options as getopt_long() has them, each name once, with values from LONG_OPTION on in the
 * order of the array. Ends with an empty one. */
static GArray *make_long_options(void) {
        GArray *all = g_array_new(TRUE, TRUE, sizeof(struct option));

        for (const Verb *verb = NULL;; verb = verb_next(verb)) {
                option_foreach (option, verb ? verb->options : options_common) {
                        struct option row = { option->name,
                                              option->value ? required_argument : no_argument, NULL,
                                              LONG_OPTION + (int) all->len };
                        bool known = false;

                        for (guint i = 0; i < all->len; i++) {
                                const struct option *other = &g_array_index(all, struct option, i);

                                if (!g_str_equal(other->name, row.name))
                                        continue;
                                g_assert(other->has_arg == row.has_arg);
                                known = true;
                        }
                        if (!known)
                                g_array_append_val(all, row);
                }
                if (verb && !verb_next(verb))
                        return all;
        }
}

/* ":" has getopt_long() tell a missing value from an unknown option. */
static char *make_short_options(void) {
        GString *letters = g_string_new(":");

        option_foreach (option, options_common)
                if (option->letter)
                        g_string_append_printf(letters, "%c%s", option->letter,
                                               option->value ? ":" : "");
        return g_string_free(letters, FALSE);
}

/* `argument` is not the name of an option, or begins several. */
static void print_unknown(const char *argument, const GArray *all) {
        g_autofree char *given = g_strndup(argument + strlen("--"), strcspn(argument, "=") - 2);
        g_autoptr(GPtrArray) names = g_ptr_array_new();
        const char *meant;

        for (guint i = 0; i < all->len; i++)
                g_ptr_array_add(names, (char *) g_array_index(all, struct option, i).name);
        g_ptr_array_add(names, NULL);
        meant = suggest_nearest(given, (const char *const *) names->pdata);
        if (meant)
                print_error("There is no option %s; did you mean --%s?", argument, meant);
        else
                print_error("There is no option %s, or it can mean several", argument);
}

/* What getopt_long() stumbled over: it is silent, for its own message begins with the path that the
 * command was started by, and does not escape. */
static void print_parse_error(int c, char **argv, const GArray *all) {
        const char *argument = argv[optind - 1];

        if (c == ':' && g_str_has_prefix(argument, "--"))
                print_error("Option %s needs a value", argument);
        else if (c == ':')
                print_error("Option -%c needs a value", optopt);
        else if (optopt == 0)
                print_unknown(argument, all);
        else if (optopt >= LONG_OPTION) /* a known one, so it is its value */
                print_error("Option %s takes no value", argument);
        else
                print_error("There is no option -%c", optopt);
}

/* Marks a value that getopt_long() would take for options: a negative number. */
#define VALUE_MARK '\001'

/* Replaces each such argument by a marked copy, which the context owns. What follows "--"
 * getopt_long() leaves alone. */
static void mark_values(Context *context, int argc, char **argv) {
        for (int i = 1; i < argc && !g_str_equal(argv[i], "--"); i++) {
                if (argv[i][0] != VALUE_MARK && !(argv[i][0] == '-' && g_ascii_isdigit(argv[i][1])))
                        continue;
                argv[i] = g_strdup_printf("%c%s", VALUE_MARK, argv[i]);
                g_ptr_array_add(context->copies, argv[i]);
        }
}

static char *unmarked(char *value) {
        return value[0] == VALUE_MARK ? value + 1 : value;
}

void command_line_clear(CommandLine *line) {
        g_clear_pointer(&line->given, g_array_unref);
}

static const char *name_of_letter(int letter) {
        option_foreach (option, options_common)
                if (option->letter == letter)
                        return option->name;
        g_assert_not_reached(); /* getopt_long() knows no others */
}

/* One option that getopt_long() has found, by its name. */
static bool take_option(Context *context, const char *name, const char *value, CommandLine *line) {
        const Option *option = options_find(options_common, name);
        Given given = { .value = value };

        if (option)
                return option_read(option, context, value);
        given.owner = verb_with_option(name);
        g_assert(given.owner); /* getopt_long() knows no others */
        given.option = options_find(given.owner->options, name);
        g_array_append_val(line->given, given);
        return true;
}

bool options_parse(Context *context, int argc, char **argv, CommandLine *ret) {
        g_autoptr(GArray) all = make_long_options();
        g_autofree char *letters = make_short_options();
        int c;

        ret->given = g_array_new(FALSE, FALSE, sizeof(Given));
        mark_values(context, argc, argv);
        opterr = 0;
        while ((c = getopt_long(argc, argv, letters, (const struct option *) all->data, NULL)) >=
               0) {
                const char *name;

                if (c == ':' || c == '?') {
                        print_parse_error(c, argv, all);
                        return false;
                }
                name = c < LONG_OPTION ? name_of_letter(c)
                                       : g_array_index(all, struct option, c - LONG_OPTION).name;
                if (!take_option(context, name, optarg ? unmarked(optarg) : NULL, ret))
                        return false;
        }
        for (int i = optind; i < argc; i++)
                argv[i] = unmarked(argv[i]);
        /* getopt_long() leaves it there, before what is no option. */
        context->separated = optind > 1 && g_str_equal(argv[optind - 1], "--");
        ret->values = argv + optind;
        ret->count = argc - optind;
        return true;
}

bool options_apply(Context *context, const Verb *verb, const CommandLine *line) {
        for (guint i = 0; i < line->given->len; i++) {
                const Given *given = &g_array_index(line->given, Given, i);
                const Option *option = options_find(verb->options, given->option->name);

                if (!option) {
                        /* A verb that ignored it would do another thing than was asked for. */
                        print_error("--%s is an option of %s, not of %s", given->option->name,
                                    given->owner->name, verb->name);
                        return false;
                }
                if (!option_read(option, context, given->value))
                        return false;
        }
        return true;
}

/* Adds `text` from HELP_COLUMN on, in lines of LINE_COLUMNS at most. */
static void print_wrapped(Output *output, const char *text) {
        g_auto(GStrv) words = g_strsplit(text, " ", -1);
        size_t column = HELP_COLUMN;

        for (char **word = words; *word; word++) {
                if (word > words && column + 1 + strlen(*word) > LINE_COLUMNS) {
                        output_format(output, "\n%*s", HELP_COLUMN, "");
                        column = HELP_COLUMN;
                } else if (word > words) {
                        output_format(output, " ");
                        column++;
                }
                output_format(output, "%s", *word);
                column += strlen(*word);
        }
        output_format(output, "\n");
}

/* `verbs` are those that have it, NULL: all. */
static void print_option(Output *output, const char *verbs, const Option *option) {
        char letter[] = { '-', option->letter, ',', ' ', '\0' };
        g_autofree char *form =
                g_strdup_printf("  %4s--%s%s%s", option->letter ? letter : "", option->name,
                                option->value ? "=" : "", option->value ? option->value : "");
        g_autofree char *text =
                g_strdup_printf("%s%s%s", verbs ? verbs : "", verbs ? ": " : "", option->help);

        if (strlen(form) + 1 >= HELP_COLUMN)
                output_format(output, "%s\n%*s", form, HELP_COLUMN, "");
        else
                output_format(output, "%-*s", HELP_COLUMN, form);
        print_wrapped(output, text);
}

void options_print_help_of(Output *output, const Verb *verb) {
        option_foreach (option, verb->options)
                print_option(output, NULL, option);
}

/* Whether the verb has an option of that name that does the same. */
static bool has_same_option(const Verb *verb, const Option *option) {
        const Option *other = options_find(verb->options, option->name);

        return other && g_str_equal(other->help, option->help);
}

/* Unless it was printed for a verb before. */
static void print_option_once(Output *output, const Verb *first, const Option *option) {
        g_autoptr(GString) verbs = g_string_new(first->name);

        for (const Verb *verb = verb_next(NULL); verb != first; verb = verb_next(verb))
                if (has_same_option(verb, option))
                        return;
        for (const Verb *verb = verb_next(first); verb; verb = verb_next(verb))
                if (has_same_option(verb, option))
                        g_string_append_printf(verbs, ", %s", verb->name);
        print_option(output, verbs->str, option);
}

void options_print_help(Output *output) {
        option_foreach (option, options_common)
                print_option(output, NULL, option);
        for (const Verb *verb = verb_next(NULL); verb; verb = verb_next(verb))
                option_foreach (option, verb->options)
                        print_option_once(output, verb, option);
}
