/* one-shot.h: one load or store that the daemon was asked for, and the end.
 *
 * Owns nothing. It runs in a process of its own, since a device may take its time and the daemon has none: who started it
 * sets the deadline and kills it. Called by main.c. */
#pragma once

#include "daemon/io/backend.h"

/* Tells the daemon that it is ready, waits for IO_LOAD or IO_STORE on `control`, does it and reports. */
void one_shot_run(int control, IoBackend *backend);
