/* unplug-calls.h: calls that wait for an unplug.
 *
 * Owns the calls. Always holds: each ends once, after the inventory has shown how the unplug
 * ended. */
#pragma once

#include "daemon/manager/apply.h"

typedef struct UnplugCalls UnplugCalls;

UnplugCalls *unplug_calls_new(Apply *apply);
UnplugCalls *unplug_calls_free(UnplugCalls *calls);

/* See manager_unplug(), manager_cancel_unplug(), manager_refuse_unplug() and
 * manager_unplug_deadline(). */
void unplug_calls_begin(UnplugCalls *calls, Function *function, uint64_t timeout_usec, bool insist,
                        unsigned flags, ManagerDone *done, void *context);
int unplug_calls_cancel(UnplugCalls *calls, Function *function);
int unplug_calls_refuse(UnplugCalls *calls, const Function *function, const char *why);
uint64_t unplug_calls_deadline(const UnplugCalls *calls, const Function *function);

/* A round of applying has ended: so do the calls whose unplug had ended. */
void unplug_calls_tell(UnplugCalls *calls);

void unplug_calls_end_calls(UnplugCalls *calls, const char *why);
