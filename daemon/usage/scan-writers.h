/* scan-writers.h: which processes are in the middle of a write to sysfs that takes a function away.
 *
 * Owns the search. Runs in the scanner only; opens nothing of the processes. A writer has its file
 * open for no longer than the write takes, so whoever has one open for writing is writing, or about
 * to. The path is text that anybody can make up with a file of that name; that the file is sysfs's
 * is told by the number of its file system, which statx tells without asking a file system that may
 * not answer (AT_STATX_DONT_SYNC), and the mounts. */
#pragma once

#include "daemon/usage/scan-child.h"

bool scan_writers_step(ScanChild *child, ScanJob *job);
