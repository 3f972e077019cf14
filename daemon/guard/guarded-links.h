/* guarded-links.h: network interfaces of functions whose VFs are in use.
 *
 * Owns the list, by which the programs of vfwarden-guard know whom a request of the network is
 * about. An interface is known by its name and by its number: `ip` gives the number, ethtool the
 * name. Those in other network namespaces are not known. */
#pragma once

#include "daemon/guard/kernel-maps.h"
#include "policy/function.h"

typedef struct GuardedLinks GuardedLinks;

GuardedLinks *guarded_links_new(void);
GuardedLinks *guarded_links_free(GuardedLinks *links);

/* The interfaces of `function` are as they are now; `wanted`: its VFs are in use. Returns 0, or the
 * negative errno of a map (`maps` may be NULL: nothing is written), or of a read, which leaves all
 * as it was. */
int guarded_links_plan(GuardedLinks *links, KernelMaps *maps, const Function *function,
                       bool wanted);
int guarded_links_forget(GuardedLinks *links, KernelMaps *maps, PciKey key);

/* Writes all. Returns 0, or a negative errno. */
int guarded_links_write(const GuardedLinks *links, KernelMaps *maps);

bool guarded_links_contain(const GuardedLinks *links, const GuardLinkKey *key);
