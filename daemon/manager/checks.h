/* checks.h: when the parts look again whether all is as it should be.
 *
 * Owns the timer. Always holds: while a part wants to be checked, or the state cannot be saved, the
 * timer runs. */
#pragma once

#include "daemon/manager/state-keeper.h"

typedef struct Checks Checks;

/* All is borrowed. Returns 0 or a negative errno. */
int checks_new(sd_event *event, Parts *parts, StateKeeper *state, Checks **ret);
Checks *checks_free(Checks *checks);

/* What the parts want may be another. */
void checks_update(Checks *checks);
