/* rate-limit.h: what many events ask for, done once in an interval for each function.
 *
 * Owns when. Always holds: of the requests for a key the first is served at once, and all that
 * come within RATE_LIMIT_USEC after one that was served are served together at its end. So a single
 * event waits for nothing, and a storm of them costs as much as its length. */
#pragma once

#include "policy/address.h"

#include <stdbool.h>
#include <systemd/sd-event.h>

/* Shorter than a person notices, and longer than the kernel takes for one VF of many. */
#define RATE_LIMIT_USEC (20 * 1000ULL)

typedef struct RateLimit RateLimit;

/* What was asked for `key` is to be done now. */
typedef void RateLimitHandler(void *context, PciKey key);

/* Returns 0 or a negative errno. */
int rate_limit_new(sd_event *event, RateLimitHandler *handler, void *context, RateLimit **ret);
RateLimit *rate_limit_free(RateLimit *limit);

/* Whether it may be done now; else the handler is called at the end of the interval. */
bool rate_limit_take(RateLimit *limit, PciKey key);
