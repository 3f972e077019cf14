/* allowance.h: how much each user may have served at once before it is others' turn.
 *
 * Owns the balances. A user begins with ALLOWANCE_MAX points and regains them with time, all of
 * them as soon as no call waits any more (allowance_reset()). So only a user whose calls come
 * faster than they can be served ever runs out. A point stands for about 25 us of work. No clock
 * here: the caller passes the time. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

/* 128 calls of the dearest kind: as many as dbus-daemon lets one connection have pending
 * (max_replies_per_connection). */
#define ALLOWANCE_MAX 512U
/* Points for each millisecond: a fifth of the daemon's time. */
#define ALLOWANCE_PER_MSEC 8U

typedef struct Allowance Allowance;

Allowance *allowance_new(void);
Allowance *allowance_free(Allowance *allowance);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Allowance, allowance_free)

/* Takes `points` from the user's balance, unless it has run out. Returns whether it did. */
bool allowance_take(Allowance *allowance, uint32_t uid, unsigned points, uint64_t now_usec);

/* Every user has the whole allowance again. */
void allowance_reset(Allowance *allowance);
