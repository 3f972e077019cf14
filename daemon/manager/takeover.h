/* takeover.h: what is left of an earlier run's records, until every function has been read.
 *
 * Owns whether there is anything. Always holds: no record is given up, and no file unlocked that an
 * earlier run locked, while a function may not be known yet. */
#pragma once

#include "daemon/manager/inventory/inventory-keeper.h"

typedef struct Takeover Takeover;

/* All is borrowed. */
Takeover *takeover_new(Apply *apply, const InventoryKeeper *keeper, Parts *parts,
                       Settings *settings);
Takeover *takeover_free(Takeover *takeover);

/* The parts adopt what an earlier run recorded, before any function is known. `started`: this start
 * is an administrator's, and ends a release. Returns 0 with the records in `*ret`, or a negative
 * errno: the daemon cannot start. */
int takeover_adopt(Takeover *takeover, bool started, State **ret);

/* Gives up what is left, once every function has been read. */
void takeover_update(Takeover *takeover);
