/* authority.h: asks polkit whether a caller may do something, without blocking.
 *
 * Owns the questions to polkit. polkit is not asked about root, whom it always allows; for others
 * the answer is no unless polkit says yes. Where calls come in runs, a yes is remembered for a
 * second (authorisation-cache.h). A question ends with polkit's reply, its deadline, or the
 * caller's departure.
 *
 * The number of questions is limited for each user and for all users together (quota.h), well below
 * what the bus allows this daemon and polkitd. When no place is left for a user with few questions,
 * the user with the most loses the youngest of theirs. So no user can keep another one from
 * asking. */
#pragma once

#include "dbus/method-call.h"

/* Runs when the caller was found to be allowed; replies to the call. */
typedef void AuthorityCallback(void *userdata, const MethodCall *call);

Authority *authority_new(Bus *bus);
Authority *authority_free(Authority *authority);

/* Asks whether the caller of `call` may do `action`, with what is known of the function concerned
 * as details (address, kind, driver, pf). Returns 1 when `callback` has run, or runs later, or the
 * caller gets AccessDenied or LimitsExceeded instead. With `repeats` the answer of a moment ago
 * will do. Returns a negative errno, with `error` set, when polkit cannot be asked: LimitsExceeded
 * for want of room. */
int authority_ask(Authority *authority, const MethodCall *call, const char *action, bool repeats,
                  AuthorityCallback *callback, void *userdata, sd_bus_error *error);
