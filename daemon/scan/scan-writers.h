/* scan-writers.h: the processes in the middle of a write to sysfs that takes a function away.
 *
 * Owns the search. Runs in the scanner only; opens nothing of the processes. A writer has its file
 * open for no longer than the write takes, so a process that has one open for writing is writing,
 * or about to. A process can make up the path with a file of that name. The number of the file
 * system proves that the file is in sysfs: statx returns it without asking a file system that may
 * not answer (AT_STATX_DONT_SYNC), and the mounts list it. */
#pragma once

#include "daemon/scan/scan-child.h"

bool scan_writers_step(ScanChild *child, ScanJob *job);
