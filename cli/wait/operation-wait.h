/* operation-wait.h: calls a guarded operation, and shows on standard error what it waits for.
 *
 * Owns nothing. A short operation shows nothing: it is said that one is in progress when the daemon
 * says so, a moment after the call. */
#pragma once

#include "cli/context.h"

/* Sends `message`, a call of `operation` (a word of Check()) on the function at `address`, and
 * waits for `timeout_usec` at most. Returns 0, or a negative errno and the error, as sd_bus_call().
 */
int operation_wait(Context *context, sd_bus_message *message, const char *address,
                   const char *operation, uint64_t timeout_usec, sd_bus_error *ret_error);
