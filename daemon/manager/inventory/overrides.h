/* overrides.h: driver_override of each function.
 *
 * Owns the reader of it, what is to be asked again, and the answers of functions that are to be
 * read for the first time. Always holds: the value of a known function is in the inventory as soon
 * as it is answered. An answer for a new function counts for the device that was asked, and not for
 * another one that has come to its address since. */
#pragma once

#include "daemon/manager/apply.h"

typedef struct Overrides Overrides;

typedef struct OverridesHandler {
        /* A function that is not known, or another device at the address of one that is, has an
         * answer: it can be read. */
        void (*arrived)(void *context, PciKey key);
        /* There is no such function, and none was known. */
        void (*absent)(void *context, PciKey key);
} OverridesHandler;

/* All is borrowed. Returns 0 or a negative errno. */
int overrides_new(Apply *apply, const OverridesHandler *handler, void *context, Overrides **ret);
Overrides *overrides_free(Overrides *overrides);

void overrides_ask(Overrides *overrides, PciKey key);

/* The same for one whose driver has changed: once for all changes of a moment. */
void overrides_driver_changed(Overrides *overrides, PciKey key);

/* Whether a function that is to be read for the first time has its answer. */
bool overrides_have(const Overrides *overrides, PciKey key);

/* That answer for the device with the inode, a new reference; NULL when it has to be asked for. The
 * answer is forgotten. */
GRefString *overrides_take(Overrides *overrides, PciKey key, uint64_t inode);

/* The function has gone, and is not asked again. Another device at its address may have an
 * answer. */
void overrides_function_gone(Overrides *overrides, PciKey key);

/* The same, and there is no other device. Returns whether there was an answer. */
bool overrides_forget(Overrides *overrides, PciKey key);

/* Whether all that was asked for is answered. */
bool overrides_are_known(const Overrides *overrides);

/* Waits for that; for the start, when nobody is served yet. */
void overrides_finish(Overrides *overrides);
