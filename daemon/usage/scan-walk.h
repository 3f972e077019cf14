/* scan-walk.h: a look at all processes.
 *
 * Owns the walk. Runs in the scanner only. All processes are looked at first as far as their first
 * descriptors; who has more than SMALL_FDS is looked at afterwards, so that a table with a million
 * entries delays only what is known of its processes. Of processes that share a table (CLONE_FILES)
 * one is read: kcmp(2) tells, with an order, so the search for the same one is binary. Processes
 * are compared with others of their user only: who makes kcmp(2) hang, which waits for an execve(2)
 * of either process (exec_update_lock), does so to their own. Who is forked meanwhile is looked at
 * as well: a process may have passed on what it has, and ended, before its turn came. Who gets it
 * by SCM_RIGHTS after their turn, from one that closes it before its own, is not seen. */
#pragma once

#include "daemon/usage/scan-child.h"

bool scan_walk_step(ScanChild *child, ScanJob *job);
