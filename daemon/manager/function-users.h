/* function-users.h: the users of a function, as the rules and clients see them.
 *
 * Owns nothing. What was seen of processes (users.h) is put right by those who open functions for
 * others: sessions, leases and VF tokens. */
#pragma once

#include "daemon/base/part.h"

/* What was seen, or what somebody says of it, is another: sets the function's users, and tells the
 * parts that it concerns. */
void function_users_update(const PartContext *context, PciKey key);

/* Who uses the function, and all that is related, is known now. `function` is looked up again: NULL
 * with -ENODEV and -ECANCELED. -EBUSY when it could not be found out in time. `message` is for
 * people, NULL with 0. */
typedef void FunctionUsersKnown(void *userdata, Function *function, int result,
                                const char *message);

/* `done` is called once, perhaps before this returns. */
void function_users_refresh(const PartContext *context, const Function *function,
                            FunctionUsersKnown *done, void *userdata);

/* The same, for what takes the function from the host: what the host does with it and with all that
 * is related is known as well, or known to be unknown. */
void function_uses_refresh(const PartContext *context, const Function *function,
                           FunctionUsersKnown *done, void *userdata);
