/* topology.h: which function is below which bridge, port, switch or VMD controller.
 *
 * Owns these links of Function: `parent`, the siblings, `below` and `marks`. Always holds: a
 * function whose parent is known is among that one's children; for every function it is known how
 * many of those below it bear each mark, so that a rule asks about thousands of functions in one
 * step, and finds the few that matter without a look at the others. Children with a mark, or with a
 * marked function below them, are in front of their siblings. The inventory
 * links; each module that changes what a mark stands for calls topology_update(). */
#pragma once

#include "policy/operation.h"

/* What matters about a function to those above it. */
typedef enum TopologyMark {
        TOPOLOGY_MARK_USED = 1 << 0,   /* function_in_use() */
        TOPOLOGY_MARK_HELD = 1 << 1,   /* function_is_held(), or VFs of it that cannot be read */
        TOPOLOGY_MARK_LOCKED = 1 << 2, /* by an administrator */
        TOPOLOGY_MARK_BUSY = 1 << 3,   /* something is being done to it */
        TOPOLOGY_MARK_INHIBITS_REMOVE = 1 << 4,    /* somebody forbids its removal ... */
        TOPOLOGY_MARK_INHIBITS_POWER_OFF = 1 << 5, /* ... that its slot is switched off ... */
        TOPOLOGY_MARK_INHIBITS_RESET = 1 << 6,     /* ... its reset */
        TOPOLOGY_MARK_HOST = 1 << 7,               /* the host uses it */
} TopologyMark;
#define TOPOLOGY_MARKS_MAX 8
#define TOPOLOGY_MARKS_ALL ((1U << TOPOLOGY_MARKS_MAX) - 1U)

/* Functions whose parent is not known yet. */
typedef struct Topology Topology;

Topology *topology_new(void);
Topology *topology_free(Topology *topology);

/* Links a function that is new with `parent`, the function at `facts.parent` (NULL while there is
 * none), and with its children that came before it. */
void topology_add(Topology *topology, Function *function, Function *parent);

/* Unlinks a function that goes. Its children wait for the next function at its address. */
void topology_remove(Topology *topology, Function *function);

/* Counts what has changed about the function. Costs a few steps for each function above it. */
void topology_update(Function *function);

/* The TopologyMark bits that at least one function below `function` bears. */
unsigned topology_marks_below(const Function *function);

/* Whether somebody forbids for a function below what `operation` on `function` does there. */
bool topology_inhibits_below(const Function *function, Operation operation);

/* The functions below `function` that bear one of `marks`, at any depth, by address: borrowed
 * Function*. NULL when there is none; else free with g_ptr_array_unref(). */
GPtrArray *topology_marked(const Function *function, unsigned marks);

unsigned topology_n_children(const Function *function);

/* The functions directly below, by address; the same for all that is below, leaves first: each one
 * comes before what is above it. Never NULL; free with g_ptr_array_unref(). */
GPtrArray *topology_children(const Function *function);
GPtrArray *topology_below(const Function *function);

bool topology_is_below(const Function *function, const Function *above);

/* The way from `above` to `function`, which is below it or is it: "0000:00:02.0 > 0000:01:00.0".
 * Free with g_free(). */
char *topology_path(const Function *above, const Function *function);

/* A bridge of PCI, which the kernel drives for what is below it: nobody has it open, and nothing
 * waits when it goes (class 0x0604xx, PCI Code and ID Assignment). */
bool topology_is_bridge(const Function *function);

/* The first that still has a driver, of `function` and all below it; NULL: none has. Bridges do not
 * count. */
const Function *topology_still_bound(const Function *function);

/* Whose slot `function` is in: itself, its PF, or the next above that has a slot; NULL: no slot. */
const Function *topology_slot_owner(const Function *function);
