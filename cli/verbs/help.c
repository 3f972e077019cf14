#include "cli/verbs/help.h"

#include "cli/options.h"

static void help_print(Output *output) {
        output_format(output,
                      "vfwarden [OPTION]... VERB [ARGUMENT]...\n\n"
                      "Shows the PCI functions of a host, protects those that virtual machines "
                      "use,\nand unplugs them in order.\n\nVerbs:\n");
        verbs_print_help(output);
        output_format(output, "\nOptions:\n");
        options_print_help(output);
        output_format(output,
                      "\nADDRESS is [DOMAIN:]BUS:DEVICE.FUNCTION as lspci has it: 0000:01:00.0, "
                      "01:00.0,\nor another name of the function: ens4, nvme0n1, slot:4, group:11, "
                      "8086:10c9\n"
                      "OPERATION is set-num-vfs, set-autoprobe, bind, unbind, reset, remove, "
                      "power-off,\ndisable-pasid or open\n"
                      "SPACE is 0 to 5, a BAR, or config; OFFSET and LENGTH are decimal or 0x...\n"
                      "\nExit codes:\n");
        for (ExitCode code = 0; code < _EXIT_CODE_MAX; code++)
                output_format(output, "  %2d  %s\n", code, exit_code_description(code));
        output_format(output, "\nThe manual page has more: man vfwarden\n");
}

/* How one verb is called, in each of its ways, and its options. */
static void help_print_verb(Output *output, const Verb *verb) {
        verb_foreach (way)
                if (g_str_equal(way->name, verb->name) && (way == verb || !way->hidden))
                        output_format(output, "vfwarden [OPTION]... %s %s\n        %s\n", way->name,
                                      way->arguments, way->help);
        if (verb->options)
                output_format(output, "\nOptions:\n");
        options_print_help_of(output, verb);
        output_format(output, "\n\"vfwarden --help\" has the options of all verbs.\n");
}

ExitCode help_run(Context *context, char **arguments) {
        const Verb *verb = arguments[0] ? verb_find_or_complain(arguments[0]) : NULL;

        if (arguments[0] && !verb)
                return EXIT_CODE_USAGE;
        if (verb)
                help_print_verb(&context->output, verb);
        else
                help_print(&context->output);
        return EXIT_CODE_DONE;
}

const Verb verb_help = {
        .name = "help",
        .arguments = "[VERB]",
        .max = 1,
        .run = help_run,
        .help = "This text, or that of one verb",
        .pages = true,
};
