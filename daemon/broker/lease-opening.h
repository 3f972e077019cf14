/* lease-opening.h: a lease from the request to the reply.
 *
 * Owns nothing: the lease is in the list from its beginning (lease-entry.h), so of two clients at a
 * time one gets the function. */
#pragma once

#include "daemon/base/config.h"
#include "daemon/broker/broker-types.h"
#include "policy/function.h"

/* Begins one: from now on the function is the client's. Returns 0 when `done` will be called, once,
 * after lease_opening_go() or lease_opening_fail(), or before if it takes too long; -EDQUOT when
 * the user, or all, have too many; -EOPNOTSUPP when VFIO has no node of that kind for the function;
 * or another negative errno. */
int lease_opening_begin(Leases *leases, Function *function, const Config *config,
                        const LeaseRequest *request, LeaseOpened *done, void *context,
                        uint64_t *ret_generation);

/* Opens the descriptor of one that was begun, or ends it. Do nothing about one that has ended. */
void lease_opening_go(Leases *leases, uint64_t generation);
void lease_opening_fail(Leases *leases, uint64_t generation, int result, const char *message);

/* The daemon ends: tells all who wait. */
void lease_opening_end_calls(Leases *leases, const char *why);
