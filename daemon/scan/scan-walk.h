/* scan-walk.h: a look at all processes.
 *
 * Owns the walk. Runs in the scanner only. First it looks at all processes as far as their first
 * descriptors. Processes with more than SMALL_FDS are looked at afterwards, so a table with a
 * million entries delays only the answer about its own processes. Of processes that share a table
 * (CLONE_FILES) one is read: kcmp(2) orders tables, so the search for the same one is binary.
 *
 * Processes are compared with others of their user only. kcmp(2) waits for an execve(2) of either
 * process (exec_update_lock), so a user can make it hang for their own processes only. A process
 * that is forked meanwhile is looked at as well: its parent may have passed a descriptor on and
 * ended before its turn came, or in the middle of it. Processes that end faster than they are
 * looked at are reported, one of them for all (ScanPending.lost). A process is missed that gets a
 * descriptor by SCM_RIGHTS after its turn, from one that closes it before its own. */
#pragma once

#include "daemon/scan/scan-child.h"

bool scan_walk_step(ScanChild *child, ScanJob *job);
