/* slot-table.h: which slot each function of the inventory is in.
 *
 * Owns the names of all slots as they were last read, and `slot` of every function. The kernel
 * sends no event of a slot that comes or goes (a hot-plug driver that binds makes them), so the
 * table is read again when a function is new, or a bridge was read again; once a turn of the loop
 * at the most. slot.h, which looks for one slot's `power` when it is needed, relies on nothing that
 * was read before. */
#pragma once

#include "daemon/base/part.h"

extern const Part slot_table_part;
