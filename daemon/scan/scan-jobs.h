/* scan-jobs.h: the requests that a scanner has, each a job that is done in steps.
 *
 * Owns the pending jobs. Runs in the scanner only. It does a little of each job in turn, and reads
 * new requests in between. So a process with a million descriptors delays the answer about itself
 * only. */
#pragma once

#include "daemon/scan/scan-child.h"

void __attribute__((noreturn)) scan_jobs_run(ScanChild *child);
