#include "daemon/program.h"

#include "daemon/base/log.h"

#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>

/* Values for getopt_long(): those of the table follow. */
enum {
        VERSION = 256,
        FIRST_OF_TABLE
};

static int program_take(const ProgramOption *option, void *context, const char *value) {
        if (option->take)
                return option->take(context, value);
        if (option->has_value)
                *(const char **) ((char *) context + option->member) = value;
        else
                *(bool *) ((char *) context + option->member) = true;
        return 0;
}

/* Room for --help, --version and the end. */
static void program_list(const Program *program,
                         struct option ret[static PROGRAM_OPTIONS_MAX + 3]) {
        unsigned n = 0;

        ret[n++] = (struct option){ "help", no_argument, NULL, 'h' };
        ret[n++] = (struct option){ "version", no_argument, NULL, VERSION };
        for (int i = 0; program->options[i].name; i++) {
                const ProgramOption *option = &program->options[i];

                assert(i < PROGRAM_OPTIONS_MAX);
                ret[n++] = (struct option){ option->name,
                                            option->has_value ? required_argument : no_argument,
                                            NULL, FIRST_OF_TABLE + i };
        }
        ret[n] = (struct option){ 0 };
}

int program_parse(const Program *program, int argc, char **argv, void *context) {
        struct option longs[PROGRAM_OPTIONS_MAX + 3];
        int option, r;

        program_list(program, longs);
        while ((option = getopt_long(argc, argv, "h", longs, NULL)) >= 0) {
                if (option == 'h') {
                        fputs(program->help, stdout);
                        return 0;
                }
                if (option == VERSION) {
                        printf("%s " VFWARDEN_VERSION "\n", program->name);
                        return 0;
                }
                if (option < FIRST_OF_TABLE)
                        return -EINVAL; /* getopt_long() has complained */
                r = program_take(&program->options[option - FIRST_OF_TABLE], context, optarg);
                if (r < 0)
                        return r;
        }
        if (optind < argc) {
                log_error("'%s' is one argument too many", argv[optind]);
                return -EINVAL;
        }
        return 1;
}

void program_block_signals(int also) {
        sigset_t signals;

        sigemptyset(&signals);
        sigaddset(&signals, SIGTERM);
        sigaddset(&signals, SIGINT);
        sigaddset(&signals, SIGCHLD);
        if (also != 0)
                sigaddset(&signals, also);
        sigprocmask(SIG_BLOCK, &signals, NULL);
}

int program_on_signal(sd_event *event, int signal, const char *name,
                      sd_event_signal_handler_t handler, void *context) {
        sd_event_source *source;
        int r;

        r = sd_event_add_signal(event, &source, signal, handler, context);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(source, name);
        r = sd_event_source_set_floating(source, true);
        sd_event_source_unref(source);
        return r;
}

int program_end_on_signals(sd_event *event) {
        int r = program_on_signal(event, SIGTERM, "signal: SIGTERM", NULL, NULL);

        return r < 0 ? r : program_on_signal(event, SIGINT, "signal: SIGINT", NULL, NULL);
}
