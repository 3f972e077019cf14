/* storm.h: events of many functions, handled together.
 *
 * Owns when. VFs come and go by the hundred, and each of them changes its PF. Always holds: an
 * event is handled at once, unless another function had one in the STORM_USEC before; a held one is
 * handled STORM_USEC later at the latest. So a single event waits for nothing, and neither do the
 * events of one function. */
#pragma once

#include "policy/address.h"

#include <stdbool.h>
#include <systemd/sd-event.h>

/* Shorter than a person notices, and longer than the kernel takes for one VF of many. */
#define STORM_USEC (20 * 1000ULL)

typedef struct Storm Storm;

/* The held events are to be handled now. */
typedef void StormHandler(void *context);

/* Returns 0 or a negative errno. */
int storm_new(sd_event *event, StormHandler *handler, void *context, Storm **ret);
Storm *storm_free(Storm *storm);

/* Whether the function's event is to be handled now; else it is held. */
bool storm_take(Storm *storm, PciKey key);

bool storm_holds(const Storm *storm);

/* All held events are being handled, for whichever reason. */
void storm_release(Storm *storm);
