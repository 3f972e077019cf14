/* nodes.h: VFIO's device nodes, closed to newcomers while their function is being taken away.
 *
 * Owns the modes that closed nodes had before. A node without permission bits refuses whoever has no CAP_DAC_OVERRIDE; who has
 * it open is not disturbed. Root is stopped by the kernel alone, which gives a group out once at a time.
 * The node of a group that serves other functions too stays open. Called by the manager. */
#pragma once

#include "daemon/problems.h"
#include "daemon/state.h"
#include "policy/inventory.h"

typedef struct Nodes Nodes;

Nodes *nodes_new(Problems *problems);
Nodes *nodes_free(Nodes *nodes);

/* Notes the nodes of the function, and of its VFs, as to be closed; nothing is done before
 * nodes_commit(), so that their modes can be written down first. Returns 0, or a negative errno
 * when one cannot be looked at: the others are noted, and the caller plans again later. */
int nodes_plan(Nodes *nodes, const Inventory *inventory, const Function *function);
void nodes_commit(Nodes *nodes);

/* Gives the nodes that were closed for the function at `key` their modes back, those that are still
 * there and that nobody else gave another. One that cannot be looked at or changed at present stays
 * recorded, for nodes_retry(). Returns whether there was any. */
bool nodes_open(Nodes *nodes, PciKey key);

void nodes_record(const Nodes *nodes, State *state);

/* Opens what an earlier run closed: what goes on being taken away is closed again. */
void nodes_undo(Nodes *nodes, const State *state);

/* Tries again to open what could not be opened; whether there is something left. */
void nodes_retry(Nodes *nodes);
bool nodes_failing(const Nodes *nodes);
