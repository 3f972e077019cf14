/* ring.h: loads and stores through memory that a session shares, for the functions of the library.
 *
 * Owns the memory and the two eventfds. Set up by the first access that can use it, if the session
 * offers it. Always holds: a session without it, and one in which anything failed, goes on over the
 * socket. What the other side writes is read once, and not believed. */
#pragma once

#include "lib/connection.h"
#include "policy/io-ring.h"

/* Whether an access of `length` bytes to a BAR goes through the ring. */
bool ring_takes(VfwardenIo *io, size_t length);

/* As connection_access(), for what ring_takes() said yes to. */
int ring_access(VfwardenIo *io, bool write, uint32_t region, uint64_t offset, void *data,
                size_t length);

void ring_free(RingSide *ring);
