/* sleep-inhibitor.h: keeps the machine from suspend and shutdown while functions are in use, if
 * InhibitSleep=yes.
 *
 * Owns the inhibitor of systemd-logind, which is a descriptor, and the list of functions in use.
 * Always holds: nothing waits for logind. Where there is none, or it refuses, the daemon's Problems
 * say so, and it is asked again after some seconds, by the next change of what is in use, and when
 * a logind starts. */
#pragma once

#include "dbus/bus-parts.h"

typedef struct SleepInhibitor SleepInhibitor;

/* Returns 0 or a negative errno. */
int sleep_inhibitor_new(const Bus *bus, SleepInhibitor **ret);
SleepInhibitor *sleep_inhibitor_free(SleepInhibitor *inhibitor);

/* The function is there, or has changed; it has gone. */
void sleep_inhibitor_note(SleepInhibitor *inhibitor, const Function *function);
void sleep_inhibitor_forget(SleepInhibitor *inhibitor, const Function *function);

/* The configuration may be another. */
void sleep_inhibitor_update(SleepInhibitor *inhibitor);
