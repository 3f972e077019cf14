/* authority.h: asks polkit whether a caller may do something, and waits without blocking.
 *
 * Owns the questions that are under way; one whose caller leaves the bus is taken back; their number is bounded for each
 * user (quota.h). The answer is no unless somebody says yes: polkit; or, on a system that has no polkit, the caller's
 * being root. Where calls come in runs, a yes is remembered for a second (grants.h).
 * Called by the dispatcher of methods only. */
#pragma once

#include "dbus/method.h"

/* Runs when the caller was found to be allowed; replies to the call. */
typedef void AuthorityCallback(void *userdata, const MethodCall *call);

Authority *authority_new(Bus *bus);
Authority *authority_free(Authority *authority);

/* Asks whether the caller of `call` may do `action`, with what is known of the function concerned as details (address,
 * kind, driver, pf). Returns 1 when the question is under way: `callback` runs later, or the caller gets
 * AccessDenied or LimitsExceeded. With `repeats` the answer of a moment ago will do, and `callback` may run now. Returns a negative errno, with `error` set, if it cannot be asked. */
int authority_ask(Authority *authority, const MethodCall *call, const char *action, bool repeats,
                  AuthorityCallback *callback, void *userdata, sd_bus_error *error);
