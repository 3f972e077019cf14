/* check-config: what the daemon would say to its configuration. The daemon's own program reads it,
 * so that there is one parser. */
#include "cli/output/output.h"
#include "cli/output/report.h"
#include "cli/verbs.h"

#include <errno.h>
#include <glib.h>
#include <unistd.h>

static ExitCode run_check_config(Context *context, char **arguments) {
        g_autofree char *directory =
                arguments[0] ? g_strconcat("--config-dir=", arguments[0], NULL) : NULL;

        if (context_is_elsewhere(context)) {
                print_error("check-config reads files of this host: it takes no -H and no -M");
                return EXIT_CODE_USAGE;
        }
        if (context->json) {
                print_error("check-config has no --json");
                return EXIT_CODE_USAGE;
        }
        /* Without the usual directory there is no configuration, and that is one. */
        if (arguments[0] && access(arguments[0], R_OK | X_OK) < 0) {
                print_error("Cannot read %s: %s", arguments[0], g_strerror(errno));
                return EXIT_CODE_USAGE;
        }
        execl(VFWARDEN_DAEMON_PROGRAM, VFWARDEN_DAEMON_PROGRAM, "--check-config", directory, NULL);
        print_error("Cannot run %s: %m", VFWARDEN_DAEMON_PROGRAM);
        return EXIT_CODE_FAILED;
}

const Verb verb_check_config = {
        .name = "check-config",
        .arguments = "[DIRECTORY]",
        .max = 1,
        .run = run_check_config,
        .help = "Check the configuration, and print what is wrong",
};
