/* use-child.h: the process that looks at the host's uses of one kind.
 *
 * Owns the loop of that process: it waits for a question or for an event of the kernel, looks at
 * everything, and tells what it saw. It may wait for locks of the kernel for as long as it takes:
 * the daemon has a deadline for it (use-helper.h). Always holds: what was looked at after a
 * question came answers that question; events are gathered for GATHER_USEC, so a storm of them
 * costs a few looks. */
#pragma once

#include "daemon/uses/use-report.h"

#include <glib.h>
#include <stdbool.h>

typedef struct UseChild UseChild;

/* One kind of evidence; a constant. */
typedef struct UseSource {
        const char *name; /* of the process, 15 characters at the most */
        const char *what; /* is looked at, for people: "network interfaces" */
        /* Finds uses of functions without a driver of the host, too (use_kind_needs_no_driver()).
         */
        bool of_all;
        /* Listens for events, by use_child_watch(). Returns 0 or a negative errno; what it has made
         * is in `*ret_state`, and lives as long as the process. */
        int (*open)(UseChild *child, void **ret_state);
        /* An event has come on `fd`. Returns whether to look again. */
        bool (*event)(void *state, int fd);
        /* Adds all uses and names, by use_child_add() and use_child_add_name(). Returns 0; or a
         * negative errno when some may be missing, which counts as "not known", never as "not
         * used". */
        int (*look)(UseChild *child, void *state);
} UseSource;

/* What the process needs. */
typedef struct UseTask {
        const UseSource *source;
        const char *proc; /* where procfs is: "/proc" */
} UseTask;

/* A HelperRun with a UseTask. Never returns. */
void use_child_run(void *task, int channel);

/* --- for sources */

const char *use_child_proc(const UseChild *child);

/* `events` as for poll(2). */
void use_child_watch(UseChild *child, int fd, short events);

/* The look goes on: what takes long is its work, or a busy machine, and no lock. To be called
 * often; the daemon's deadline begins anew about once a second. */
void use_child_go_on(UseChild *child);

/* Texts that are too long are cut; what is no text is made one. A use may be left out where others
 * of the function that weigh as much are known already. */
void use_child_add(UseChild *child, PciKey key, UseKind kind, const char *object, const char *by,
                   uint32_t pid);

/* Says what was not looked at, or not at once, for people. It hides only uses of the users who
 * caused it, and counts for nothing else. The first of a look is kept. */
void use_child_note(UseChild *child, const char *text);

/* Adds what the host calls a device of the function, used or not. */
void use_child_add_name(UseChild *child, PciKey key, DeviceNameKind kind, const char *name);
