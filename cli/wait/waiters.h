/* waiters.h: who is waited for when a function is to be free.
 *
 * Owns nothing. These are the users of the function and of its VFs, and the clients that inhibit
 * its removal in mode "delay": an unplug asks them as well. Both have the members of holders.h. */
#pragma once

#include "cli/context.h"

#include <json-glib/json-glib.h>

/* Asks the daemon. Returns 0 and an array of the caller's, or a negative errno and the error. */
int waiters_list(Context *context, const char *address, sd_bus_error *ret_error, JsonArray **ret);

/* Whether one of them delays, or this one does. */
bool waiters_any_delays(JsonArray *waiters);
bool waiter_delays(JsonObject *waiter);

/* "  0000:01:10.2  qemu (pid 4711, virtual machine web1), since 2026-11-20 20:11", the caller's;
 * not escaped. */
char *waiter_describe(JsonObject *waiter);

/* Adds one line for each. */
void waiters_print(Output *output, JsonArray *waiters);
