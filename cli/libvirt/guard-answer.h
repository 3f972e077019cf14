/* guard-answer.h: what the guard of a domain says when its function is to be released.
 *
 * Owns nothing. The guard cannot make a guest release a function: it never calls libvirt. The agent
 * does (vfwarden-libvirt(8)). Where no agent is on the bus, nobody does, and the guard says so at
 * once, instead of leaving the request to its deadline. */
#pragma once

#include "cli/context.h"

/* Refuses the unplug of the function at `path` if no agent is on the bus. `who` is the domain's
 * name for people; it outlives the bus. Returns 0 or a negative errno. */
int guard_answer(sd_bus *bus, const char *path, const char *who);
