/* guard-holding.h: what the guard of a domain holds while the domain runs.
 *
 * Owns the guard's connection to the bus, the domain's inhibitor, and what is known of the use of
 * each function. */
#pragma once

#include "cli/libvirt/claim.h"

typedef struct Holding {
        Context context;      /* with a bus connection of its own */
        const char *who;      /* of the inhibitor */
        GPtrArray *functions; /* of HeldFunction*, owned: those that are not released */
        Claim claim;
        bool stale; /* the inhibitor is on more than `functions` */
} Holding;

/* Sends the call that inhibits all operations on the domain's functions, and watches their use;
 * waits for nothing. claim_finish() comes next. */
int holding_begin(Holding *holding, const Domain *domain, const char *who);

/* Returns when the domain has released all. */
void holding_keep(Holding *holding);
