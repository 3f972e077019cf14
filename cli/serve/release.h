/* release.h: has a VMM release its function when the daemon requests it.
 *
 * Owns what is done about an UnplugRequested() of one function: a command of the user's, or a
 * device_del in the VMM. Always holds: only one of them is in progress; a request that comes
 * meanwhile starts no second one. A dialog with the VMM ends with the request's deadline, when the
 * request is withdrawn, and when the function is gone or, a VF, taken from its user: most VMMs talk
 * to one client at a time, and the next one waits. What fails is reported, and changes nothing: the
 * daemon ends the session at the request's deadline. */
#pragma once

#include "cli/cleanup.h"
#include "cli/context.h"

#include <signal.h>

typedef struct ReleaseOptions {
        const char *command; /* for a shell; NULL: none */
        const char *qmp;     /* path of the VMM's socket; NULL: none */
        const char *device;  /* id of the device there */
} ReleaseOptions;

typedef struct Release Release;

/* Subscribes to the requests of the function with that object path; they are handled by `event`,
 * to which the caller attaches the context's bus. The command gets the signal mask `mask`. The
 * options, the path and the address stay where they are until release_free(). Returns 0 or a
 * negative errno.
 */
int release_new(Context *context, sd_event *event, const char *path, const char *address,
                const ReleaseOptions *options, const sigset_t *mask, Release **ret);

/* Ends what is in progress. */
Release *release_free(Release *release);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Release, release_free)
