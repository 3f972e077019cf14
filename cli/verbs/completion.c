/* completion-table: the verbs and options, for the completion of shells (cli/completion/). Each row
 * has six fields between tabs; "-" stands for an empty one:
 *
 *   verb    NAME       -       -             OFFER...  HELP
 *   option  VERB or -  LETTER  --NAME[=]     OFFER     HELP
 *
 * An OFFER is what a shell offers for an argument or a value: words of which one is meant
 * ("yes|no") or several ("bind:reset"); ADDRESS, DRIVER, DIRECTORY, FILE, HOST or COMMAND; "--"
 * itself; "-" nothing. After the last one "..." says that there may be more of its kind.
 *
 * completion-names: the addresses and other names of functions, one a line.
 */
#include "cli/client.h"
#include "cli/function/names.h"
#include "cli/libvirt/alias.h"
#include "cli/options.h"
#include "cli/vocabulary.h"

#include <string.h>

/* "list|show|status|..."; the caller's. */
static char *names_of_verbs(void) {
        g_autoptr(GString) names = g_string_new(NULL);

        verb_foreach (verb)
                if (!verb->hidden)
                        g_string_append_printf(names, "%s%s", names->len > 0 ? "|" : "",
                                               verb->name);
        return g_string_free(g_steal_pointer(&names), FALSE);
}

/* The offer for an argument that --help calls `name`. The string is the caller's. */
static char *offer_for(const char *name) {
        static const char *const known[] = { "ADDRESS", "DRIVER", "DIRECTORY", "FILE",
                                             "HOST",    "--",     NULL };

        if (g_str_equal(name, "VERB"))
                return names_of_verbs();
        if (g_str_equal(name, "OPERATION"))
                return g_strjoinv("|", (char **) vocabulary_all);
        if (g_str_equal(name, "OPERATIONS"))
                return g_strjoinv(":", (char **) vocabulary_all);
        if (g_str_equal(name, "SPACE"))
                return g_strdup("0|1|2|3|4|5|config");
        if (g_str_equal(name, "COMMAND..."))
                return g_strdup("COMMAND");
        if (g_str_equal(name, "ADDRESS..."))
                return g_strdup(name);
        if (g_strv_contains(known, name) || !g_ascii_isupper(name[0]))
                return g_strdup(name);
        return g_strdup("-");
}

/* The offers for arguments as --help shows them: "ADDRESS [DRIVER]". The string is the caller's. */
static char *offers_for(const char *arguments) {
        g_autofree char *bare = g_strdelimit(g_strdup(arguments), "[]", ' ');
        g_auto(GStrv) names = g_strsplit_set(bare, " ", -1);
        g_autoptr(GString) offers = g_string_new(NULL);

        for (char **name = names; *name; name++) {
                g_autofree char *offer = **name ? offer_for(*name) : NULL;

                if (offer)
                        g_string_append_printf(offers, "%s%s", offers->len > 0 ? " " : "", offer);
        }
        return g_string_free(g_steal_pointer(&offers), FALSE);
}

static void completion_print_row(Output *output, const char *kind, const char *verb, char letter,
                                 const char *name, const char *offers, const char *help) {
        g_autofree char *short_form = letter ? g_strdup_printf("-%c", letter) : NULL;

        output_format(output, "%s\t%s\t%s\t%s\t%s\t%s\n", kind, verb, short_form ? short_form : "-",
                      name, offers && *offers ? offers : "-", help);
}

static void print_options(Output *output, const char *verb, const Option *options) {
        option_foreach (option, options) {
                g_autofree char *name =
                        g_strdup_printf("--%s%s", option->name, option->value ? "=" : "");
                g_autofree char *offers = NULL;

                if (option->value)
                        offers = offers_for(option->offers ? option->offers : option->value);
                completion_print_row(output, "option", verb, option->letter, name, offers,
                                     option->help);
        }
}

/* Of this host, unless another one is asked: that would wait for ssh. A shell that completes has no
 * use for errors. */
static ExitCode run_completion_names(Context *context, char **arguments) {
        g_autoptr(Inventory) inventory = NULL;
        g_autoptr(GPtrArray) names = NULL;
        g_autofree char *domain = NULL, *alias = NULL;

        if (context_is_elsewhere(context))
                return EXIT_CODE_UNREACHABLE;
        if (arguments[0] && alias_split(arguments[0], &domain, &alias))
                names = alias_offer(arguments[0]);
        else if (client_describe(context, CALL_NO_AUTO_START, NULL, &inventory) < 0)
                return EXIT_CODE_UNREACHABLE;
        else
                names = names_offer(inventory, arguments[0] ? arguments[0] : "");
        for (guint i = 0; i < names->len; i++) {
                output_text(&context->output, STYLE_PLAIN, names->pdata[i]);
                output_format(&context->output, "\n");
        }
        return EXIT_CODE_DONE;
}

const Verb verb_completion_names = {
        .name = "completion-names",
        .arguments = "[TYPED]",
        .max = 1,
        .run = run_completion_names,
        .help = "What functions can be called",
        .hidden = true,
};

static ExitCode run_completion_table(Context *context, char **arguments) {
        Output *output = &context->output;

        print_options(output, "-", options_common);
        verb_foreach (verb) {
                g_autofree char *offers = offers_for(verb->offers ? verb->offers : verb->arguments);

                /* A verb that does two things has a row of --help for each. */
                if (verb->hidden || verb_find(verb->name) != verb)
                        continue;
                completion_print_row(output, "verb", verb->name, 0, "-", offers, verb->help);
                print_options(output, verb->name, verb->options);
        }
        return EXIT_CODE_DONE;
}

const Verb verb_completion_table = {
        .name = "completion-table",
        .arguments = "",
        .run = run_completion_table,
        .help = "What the completion of shells asks for",
        .hidden = true,
};
