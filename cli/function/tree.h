/* tree.h: functions below others, in the order in which a list prints them.
 *
 * Owns nothing. Always holds: each function is visited once, whatever the daemon says of parents;
 * one whose parent is not among the functions stands below the next ancestor that is, or at the
 * top. */
#pragma once

#include "cli/inventory.h"

/* The function that `function` is below, borrowed, or NULL. */
typedef JsonObject *TreeParent(const Inventory *inventory, JsonObject *function);

/* inventory_parent() has a VF below its PF, and nothing else. This one also knows the bridge or
 * port that a function is behind. */
JsonObject *tree_parent_by_topology(const Inventory *inventory, JsonObject *function);

/* `branch` are the lines before the function, a literal or the walk's; no escaping needed. */
typedef void TreeVisit(void *context, JsonObject *function, const char *branch);

/* Visits `functions` (of JsonObject), each below its parent. `utf8`: lines are drawn so. */
void tree_walk(const Inventory *inventory, GPtrArray *functions, TreeParent *parent, bool utf8,
               TreeVisit *visit, void *context);
