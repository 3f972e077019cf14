/* takeover.h: what is left of an earlier run's records, until every function has been read.
 *
 * Owns whether there is anything. Always holds: no record is given up, and no file unlocked that an
 * earlier run locked, while a function may not be known yet. */
#pragma once

#include "daemon/manager/inventory/inventory-keeper.h"

typedef struct Takeover Takeover;

/* All is borrowed. */
Takeover *takeover_new(Apply *apply, const InventoryKeeper *keeper);
Takeover *takeover_free(Takeover *takeover);

/* The parts have adopted the records. `lost`: there were none to be read, and locks are found by
 * looking. */
void takeover_begin(Takeover *takeover, bool lost);

/* Gives up what is left, once every function has been read. */
void takeover_update(Takeover *takeover);
