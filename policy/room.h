/* room.h: the share of each limited resource that is kept for root.
 *
 * Owns nothing. Always holds: users other than root, however many they are, leave ROOM_FOR_ROOT of
 * each limited resource (inhibitors, leases, sessions). So libvirt and the administrator always get
 * theirs. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define ROOM_FOR_ROOT 128U

/* Whether `uid` may have one more of what there are `n` of, and of which there may be `max`, which
 * is more than ROOM_FOR_ROOT. */
bool room_left(unsigned n, unsigned max, uint32_t uid);
