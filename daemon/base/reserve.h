/* reserve.h: descriptors that are kept free for what must work when all others are used up.
 *
 * Owns RESERVE_SIZE descriptors of nothing (eventfds). Always holds: between reserve_open() and
 * reserve_close() so many opens succeed although the process (EMFILE) or the system (ENFILE) has no
 * descriptor left, as far as they were there. A higher limit would not do: held descriptors serve
 * under a limit that somebody lowers while the daemon runs, and the system's own limit cannot be
 * raised. They are for removing write bits and for saving the state. Neither keeps a descriptor, so
 * the reserve is whole again afterwards; where it is not, it is filled the next time. */
#pragma once

#include "daemon/base/problems.h"

#include <stdbool.h>

typedef struct Reserve Reserve;

#define RESERVE_SIZE 16

Reserve *reserve_new(void);
Reserve *reserve_free(Reserve *reserve);

/* Whether `r`, of a call that opens something, asks for the reserve. */
bool reserve_helps(int r);

/* Closes the reserved descriptors for a moment, and reserves them again. Not to be nested. */
void reserve_open(Reserve *reserve);
void reserve_close(Reserve *reserve);

/* Fills the reserve. Returns whether it is whole. */
bool reserve_fill(Reserve *reserve);

/* Whether a descriptor is to be had besides those of the reserve: 0, or the negative errno of the
 * attempt. */
int reserve_probe(const Reserve *reserve);

/* Looks whether a descriptor is to be had, fills the reserve, and reports or resolves the problem:
 * what fails for want of a descriptor is reported where it fails, this says why. */
void reserve_check(Reserve *reserve, Problems *problems);

/* Whether it is reported now. */
bool reserve_is_reported(const Problems *problems);
