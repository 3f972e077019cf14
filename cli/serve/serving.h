/* serving.h: the time in which a client can use a session.
 *
 * Owns the event loop of that time: the command that runs meanwhile, the signals, the end of the
 * session, and the requests to release the function. Always holds: without a command the session's
 * end is the end; with one, the command's. */
#pragma once

#include "cli/serve/release.h"

#include "cli/exit-code.h"

typedef struct Serving {
        Context *context;
        sd_event *event;
        Release *release; /* NULL: no request is heard */
        sigset_t before;  /* the signal mask, for commands */
        pid_t child;      /* 0: no command */
        ExitCode code;
} Serving;

/* Before the session is opened, so that no request is missed. `path` is the function's object. A
 * client that gave no options has no part in releases. What is given stays where it is until
 * serving_done(). Returns 0 or a negative errno. */
int serving_begin(Serving *serving, Context *context, const char *path, const char *address,
                  const ReleaseOptions *options);

/* Runs `command`, if it is not empty, or waits for the end of the session, which `session` tells.
 * Returns the exit code, of the command if there is one. */
ExitCode serving_wait(Serving *serving, int session, char **command);
void serving_done(Serving *serving);
