/* guard.h: the process that holds the inhibitor of a libvirt domain, and its unit.
 *
 * An inhibitor ends with the last copy of its descriptor, and a hook ends at once. So the hook
 * leaves a process behind that has the descriptor and does nothing else: a fork, moved into a scope
 * of systemd's named by the domain's UUID. The name is how a later run of the hook finds it,
 * stopping the scope how it ends. When the domain releases a function, by a detach without a hook,
 * the guard inhibits the others alone; with the last one it ends by itself. */
#pragma once

#include "cli/context.h"
#include "cli/exit-code.h"
#include "cli/libvirt/domain.h"

typedef struct GuardRequest {
        Context *context;
        const Domain *domain;
        const char *name; /* the domain's */
        const char *who;  /* of its inhibitors: "domain web1" */
        bool checking;    /* refused when something stands against the domain's having a function */
} GuardRequest;

/* Leaves a guard behind for the domain, unless it has one already. Prints what fails, and what
 * stands against it. */
ExitCode guard_domain(const GuardRequest *request);

/* Ends the domain's guard, if there is one; when the call returns, it has ended. Prints what
 * fails. */
ExitCode guard_release(Context *context, const Domain *domain, gint64 deadline);
