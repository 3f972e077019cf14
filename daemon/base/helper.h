/* helper.h: processes that do for the daemon what may hang in the kernel.
 *
 * Owns the daemon's side of one such process: the channel to it (a socket of type SOCK_SEQPACKET),
 * what tells it from all others (pid and start time), its deadline, and the notice of its end. A
 * helper is forked, or ordered from somebody who forks it (daemon/broker/spawner.h), or found again
 * after a restart of the daemon. No program is executed to make one: the daemon has one thread, so
 * its copy can go on in C.
 *
 * Always holds: a helper has nothing of the daemon's but what it needs. One that hangs cannot even
 * be killed; if it kept the daemon's connection to the bus, the daemon's name would be taken until
 * it ends. Nothing here waits for a helper. */
#pragma once

#include "daemon/base/children.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

typedef struct Helper Helper;

/* Called from the event loop; each may free the helper. */
typedef struct HelperHandler {
        const char *name; /* of the process, 15 characters at the most */
        bool waits;       /* the process does nothing before a message comes over its channel */
        /* Only of one that was ordered: with 0 its pid is known, and it waits for its task; with a
         * negative errno there is no process. */
        void (*started)(void *context, int result);
        /* The channel is readable, or its other end is closed. NULL: nobody listens. */
        void (*readable)(void *context, int channel);
        /* The deadline has passed. */
        void (*due)(void *context);
        /* The process has ended, by the signal `killer`, or 0: by itself, or that cannot be known.
         * NULL: it is reaped, and nobody needs to know. */
        void (*ended)(void *context, int killer);
} HelperHandler;

/* What the process does. Leaves by _exit(). */
typedef void HelperRun(void *task, int channel);

/* Forks. The process keeps the `n_keep` descriptors in `keep` (negative ones are passed over), the
 * standard ones lead nowhere, no signal is blocked. Returns 0 or a negative errno. */
int helper_fork(sd_event *event, const HelperHandler *handler, void *context, HelperRun *run,
                void *task, const int *keep, unsigned n_keep, Helper **ret);

/* One that an earlier run of the daemon had. `channel` (NULL: there is none) is taken over on
 * success. Returns 0; -ESRCH when it has ended, or its pid is another's by now; or another negative
 * errno. */
int helper_adopt(sd_event *event, const HelperHandler *handler, void *context, pid_t pid,
                 uint64_t start_time, int *channel, Helper **ret);

/* Stops watching. The process goes on, and is reaped when it ends, however late; most end when
 * their channel is closed, which it is now. */
Helper *helper_free(Helper *helper);

/* Ends one that `waits`, and has had no message. It has touched no device, so nothing in the kernel
 * keeps it: this waits for no longer than a process takes to die, and leaves no zombie. */
Helper *helper_discard(Helper *helper);

/* SIGKILL; its end is notified as any other. */
void helper_kill(Helper *helper);

/* What becomes of a killed one that does not end is up to `children`, with `victim`'s key, uid and
 * whether it is late. One of which nothing is known yet ends by its channel. Frees it. */
Helper *helper_condemn(Helper *helper, Children *children, const KilledChild *victim);

/* In so much time from now, in place of an earlier deadline. Returns 0 or a negative errno. */
int helper_set_deadline(Helper *helper, uint64_t usec);
void helper_clear_deadline(Helper *helper);

/* Stops listening to the channel; closes it. */
void helper_ignore(Helper *helper);
void helper_hang_up(Helper *helper);

pid_t helper_pid(const Helper *helper); /* 0: it is not known yet */
uint64_t helper_start_time(const Helper *helper);
int helper_channel(const Helper *helper); /* -1 without */
bool helper_has_ended(const Helper *helper);

/* --- for those who fork, or have somebody fork */

/* Forks, and nothing else: the pid, or a negative errno; in the child 0, as of helper_fork(). */
pid_t helper_fork_process(const char *name, const int *keep, unsigned n_keep);

/* Nobody waits for child `pid` any more: it is reaped whenever it ends. It must have no other
 * source in `event`. */
void helper_forget_process(sd_event *event, pid_t pid);

/* Somebody else's part in a helper. */
typedef struct HelperOrigin {
        void *data;
        void (*free)(void *data); /* with the helper */
        /* The process has ended; helper_report_end() follows, at once or later. NULL: nobody knows
         * more. */
        void (*process_over)(void *data);
} HelperOrigin;

/* One whose process is to be made known by helper_identify(). Takes `*channel` over on success.
 * `handler->started` is called by helper_report_start(). */
int helper_new(sd_event *event, const HelperHandler *handler, void *context, int *channel,
               Helper **ret);
void helper_set_origin(Helper *helper, const HelperOrigin *origin);

/* It is process `pid`; `*pidfd`, of one that is no child, is taken over on success. Returns 0 or a
 * negative errno. */
int helper_identify(Helper *helper, pid_t pid, int *pidfd);
void helper_report_start(Helper *helper, int result);
void helper_report_end(Helper *helper, int killer);
