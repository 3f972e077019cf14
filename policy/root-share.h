/* root-share.h: the share of each limited resource that is kept for root.
 *
 * Owns nothing. Always holds: users other than root, however many they are, leave ROOT_SHARE of
 * each limited resource (inhibitors, leases, sessions). So libvirt and the administrator always get
 * theirs. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define ROOT_SHARE 128U

/* Whether `uid` may have one more of what there are `n` of, and of which there may be `max`, which
 * is more than ROOT_SHARE. */
bool root_share_left(unsigned n, unsigned max, uint32_t uid);
