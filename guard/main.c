/* vfwarden-guard: loads the kernel guard and exits, or takes it away. */
#include "guard/loader.h"
#include "lib/standard-streams.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DIRECTORY "/sys/fs/bpf/vfwarden"
#define STATUS    "/run/vfwarden-guard/status"

static void help(void) {
        puts("vfwarden-guard [OPTION...] load|unload\n"
             "\n"
             "Loads the BPF programs that refuse what the mode of a file cannot refuse, or unloads them.\n"
             "\n"
             "  -h, --help      Show this help\n"
             "      --version   Show the version\n"
             "      --pins=DIR  Where the programs are pinned, instead of " DIRECTORY "\n"
             "      --status=FILE\n"
             "                  What was loaded, instead of " STATUS);
}

int main(int argc, char **argv) {
        static const struct option longs[] = {
                { "help", no_argument, NULL, 'h' },
                { "version", no_argument, NULL, 'v' },
                { "pins", required_argument, NULL, 'p' },
                { "status", required_argument, NULL, 's' },
                { 0 },
        };
        const char *directory = DIRECTORY, *status = STATUS;
        int option, r;

        if (standard_streams_open() < 0)
                return EXIT_FAILURE;
        while ((option = getopt_long(argc, argv, "h", longs, NULL)) >= 0)
                switch (option) {
                case 'h':
                        help();
                        return EXIT_SUCCESS;
                case 'v':
                        puts("vfwarden-guard " VFWARDEN_VERSION);
                        return EXIT_SUCCESS;
                case 'p':
                        directory = optarg;
                        break;
                case 's':
                        status = optarg;
                        break;
                default:
                        return EXIT_FAILURE;
                }
        if (argc - optind == 1 && strcmp(argv[optind], "load") == 0)
                r = loader_load(directory, status);
        else if (argc - optind == 1 && strcmp(argv[optind], "unload") == 0)
                r = loader_unload(directory, status);
        else {
                fprintf(stderr, "Give one of: load, unload\n");
                return EXIT_FAILURE;
        }
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
