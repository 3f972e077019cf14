/* retries.h: what has failed and is to be repeated, for each function by itself.
 *
 * Owns the times. Always holds: a key that was added is passed to the handler once, after a time
 * that doubles from RETRIES_FIRST_USEC to RETRIES_LAST_USEC each time that the key is added again,
 * until it is dropped. */
#pragma once

#include "policy/address.h"

#include <stdbool.h>
#include <systemd/sd-event.h>

typedef struct Retries Retries;

#define RETRIES_FIRST_USEC (100 * 1000ULL)
#define RETRIES_LAST_USEC  (10 * 1000 * 1000ULL)

/* A key of no function: for what concerns all of them. */
#define RETRIES_EVERYTHING UINT64_MAX

/* It is time to try `key` again. The handler adds or drops it when it knows the result. */
typedef void RetriesHandler(void *context, PciKey key);

/* Returns 0 or a negative errno. */
int retries_new(sd_event *event, RetriesHandler *handler, void *context, Retries **ret);
Retries *retries_free(Retries *retries);

/* It failed. Does nothing while `key` waits already. */
void retries_add(Retries *retries, PciKey key);

/* It succeeded, or is of no interest any more. Does nothing when `key` was not added. */
void retries_drop(Retries *retries, PciKey key);

/* Whether `key` was added and not dropped since; whether any was. */
bool retries_has(const Retries *retries, PciKey key);
bool retries_any(const Retries *retries);
