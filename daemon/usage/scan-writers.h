/* scan-writers.h: which processes are in the middle of a write to sysfs that takes a function away.
 *
 * Owns the search. Runs in the scanner only; opens nothing of the processes. A writer has its file
 * open for no longer than the write takes, so a process that has one open for writing is writing,
 * or about to. The path is text that anybody can make up with a file of that name; the number of
 * its file system shows that the file is in sysfs; statx returns it without asking a file system
 * that may not answer (AT_STATX_DONT_SYNC), and the mounts list it. */
#pragma once

#include "daemon/usage/scan-child.h"

bool scan_writers_step(ScanChild *child, ScanJob *job);
