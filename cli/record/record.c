/* record: what is known of this host's functions, in one file, for the report of a fault. */
#include "cli/cleanup.h"
#include "cli/client.h"
#include "cli/record/gather.h"
#include "cli/verbs.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Standard output has the recording; so this goes where a person sees it. */
static void show_contents(const Gathered *gathered) {
        fprintf(stderr,
                "The recording has, of %u functions:\n"
                "  what vfwardend knows of them: names, drivers, slots, locks; who uses them: pid, uid,\n"
                "  unit, virtual machine; what the host does with them: interfaces, disks, mounts;\n"
                "  inhibitors, and whether each operation is possible\n"
                "  counters of vfwardend\n"
                "  facts of sysfs (%u), without serial numbers\n"
                "  configuration space of %u functions, without serial numbers\n"
                "It has no command lines, no reasons that people gave for locks and inhibitors, no\n"
                "configuration, no journal, and no memory of devices or programs.\n",
                gathered->functions, gathered->facts, gathered->configs);
        if (gathered->sleeping > 0)
                fprintf(stderr,
                        "The configuration space of %u functions is left out: they sleep, and a read "
                        "would wake them up.\n",
                        gathered->sleeping);
        if (gathered->unchecked > 0)
                fprintf(stderr, "%u functions are left out of the answers about operations.\n",
                        gathered->unchecked);
}

/* Only a person can be asked, and only one who sees the list. */
static bool agrees(const Context *context) {
        g_autofree char *line = NULL;
        size_t size = 0;

        if (!context->ask_password || !isatty(STDIN_FILENO) || !isatty(STDERR_FILENO))
                return true;
        fprintf(stderr, "Write it? [y/N] ");
        return getline(&line, &size, stdin) > 0 && (line[0] == 'y' || line[0] == 'Y');
}

static ExitCode write_recording(const Gathered *gathered) {
        const guint8 *data = gathered->archive->data;
        size_t left = gathered->archive->len;

        while (left > 0) {
                ssize_t n = write(STDOUT_FILENO, data, left);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0) {
                        print_error("Cannot write the recording: %s", g_strerror(errno));
                        return EXIT_CODE_FAILED;
                }
                data += n;
                left -= (size_t) n;
        }
        return EXIT_CODE_DONE;
}

static ExitCode run_record(Context *context, char **arguments) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        _cleanup_(gathered_clear) Gathered gathered = { 0 };
        int r;

        if (context_is_elsewhere(context) || isatty(STDOUT_FILENO)) {
                print_error(isatty(STDOUT_FILENO)
                                    ? "A recording is no text: vfwarden record >host.tar"
                                    : "record reads sysfs of this host: it takes no -H and no -M");
                return EXIT_CODE_USAGE;
        }
        r = gather(context, &error, &gathered);
        if (r == -E2BIG) {
                print_error("The recording would be too large");
                return EXIT_CODE_FAILED;
        }
        if (r < 0)
                return client_fail(context, r, &error, "Cannot record this host");
        show_contents(&gathered);
        if (agrees(context))
                return write_recording(&gathered);
        print_error("Nothing is written");
        return EXIT_CODE_FAILED;
}

const Verb verb_record = {
        .name = "record",
        .arguments = "",
        .run = run_record,
        .help = "A recording of this host, for reports of faults",
};
