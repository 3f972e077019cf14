/* node-owners.h: which functions a device node belongs to, and what it is to have it open.
 *
 * Owns what was found in one look: nearly all descriptors are of a few nodes, such as that of
 * /dev/null. A node is known by its number, for anybody can give a file any name. */
#pragma once

#include "policy/address.h"
#include "policy/use.h"

#include <glib.h>
#include <sys/stat.h>

typedef struct NodeOwner {
        UseKind kind;
        char *name;   /* "uio0", "nvme0n1", "card0" */
        GArray *keys; /* of PciKey: several for a disk with several paths */
} NodeOwner;

typedef struct NodeOwners NodeOwners;

NodeOwners *node_owners_new(void);
NodeOwners *node_owners_free(NodeOwners *owners);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(NodeOwners, node_owners_free)

/* Returns 1 with the owner, borrowed; 0 if `st` is of no device node, or of one that is of no
 * function or no use; or a negative errno. */
int node_owners_find(NodeOwners *owners, const struct statx *st, const NodeOwner **ret);
