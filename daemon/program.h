/* program.h: how vfwardend and vfwarden-spawn are called, and which signals they take.
 *
 * Owns nothing. Each program has a table of its options; --help and --version are in all of them.
 * What is wrong with a command line is complained of here. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <systemd/sd-event.h>

/* Rows of a table, at most. */
#define PROGRAM_OPTIONS_MAX 16

typedef struct ProgramOption {
        const char *name; /* without the dashes; NULL ends a table */
        bool has_value;
        /* Takes the value; a negative errno for one that is wrong, after it has complained. */
        int (*take)(void *context, const char *value);
        /* Without `take`: the member of the context that becomes true or, with a value, points to
         * it. */
        size_t member;
} ProgramOption;

typedef struct Program {
        const char *name;
        const char *help;
        const ProgramOption *options;
} Program;

/* Returns 1 to go on, 0 when all is done, or a negative errno when the command line is wrong. */
int program_parse(const Program *program, int argc, char **argv, void *context);

/* Blocks SIGTERM, SIGINT, SIGCHLD and, unless it is 0, `also`, for good: sd-event receives them by
 * signalfd, the last for sd_event_add_child(). Children unblock their own. */
void program_block_signals(int also);

/* Calls `handler` for the signal, which is blocked; NULL: it ends the loop. `name` describes the
 * event source, which lasts as long as the loop. Returns 0 or a negative errno. */
int program_on_signal(sd_event *event, int signal, const char *name,
                      sd_event_signal_handler_t handler, void *context);

/* SIGTERM and SIGINT end the loop. Returns 0 or a negative errno. */
int program_end_on_signals(sd_event *event);
