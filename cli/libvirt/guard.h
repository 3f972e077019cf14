/* guard.h: the process that holds the inhibitors of a libvirt domain, and its unit.
 *
 * An inhibitor ends with the last copy of its descriptor, and a hook ends at once. So the hook
 * leaves a process behind that has the descriptors and does nothing else: a fork, moved into a
 * scope of systemd's named by the domain's UUID. The name is how a later run of the hook finds it,
 * stopping the scope how it ends. When the domain releases a function, by a detach without a hook,
 * the guard ends the inhibitor of that function as well; with the last one it ends by itself. */
#pragma once

#include "cli/context.h"
#include "cli/exit-code.h"
#include "cli/libvirt/domain.h"

#include <sys/types.h>

typedef struct Guard {
        pid_t pid;
        int fd; /* while it is open, the guard waits for the next order */
} Guard;

/* Starts a process that is ready to inhibit, as `who`, all that takes the domain's functions away
 * or gives them to somebody else. It connects to the bus while the caller goes on. Its calls end
 * before `deadline`, of g_get_monotonic_time(). Prints what fails. */
ExitCode guard_start(const Domain *domain, const char *who, gint64 deadline, Guard *ret);

/* Has the process inhibit that. Returns EXIT_CODE_DONE when it has; or prints why it has not. */
ExitCode guard_inhibit(const Guard *guard, gint64 deadline);

/* Moves the guard into the domain's scope, where it replaces an older one and continues by itself.
 * `name` is the domain's. Prints what fails; the guard is ended then. */
ExitCode guard_install(Context *context, const Domain *domain, const char *name, gint64 deadline,
                       Guard *guard);

/* Ends the guard, unless it was installed, and the descriptor. For _cleanup_(). */
void guard_drop(Guard *guard);

/* Ends the domain's guard, if there is one; when the call returns, it has ended. Prints what
 * fails. */
ExitCode guard_release(Context *context, const Domain *domain, gint64 deadline);

/* Has the calls on the context's bus end before `deadline`. */
void guard_limit_calls(Context *context, gint64 deadline);
