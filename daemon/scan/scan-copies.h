/* scan-copies.h: which processes share a device descriptor that names no function.
 *
 * Owns what a search notes of it. Runs in the scanner only. Who got a copy may know the function no
 * more, and who has the original may: kcmp(2) orders files, so the search for the same one is
 * binary. */
#pragma once

#include "daemon/scan/scan-child.h"

typedef struct ScanCopies ScanCopies;

ScanCopies *scan_copies_new(void);
void scan_copies_free(ScanCopies *copies);

/* Remembers the first descriptors of a process that has such ones. */
void scan_copies_note(ScanCopies *copies, const ScanProcess *process);

/* Compares one more. Returns whether all are compared. */
bool scan_copies_step(ScanCopies *copies, ScanChild *child);

/* Sends a SCAN_KIND_SAME for each file that several processes have. */
void scan_copies_tell(const ScanCopies *copies, ScanChild *child, const ScanJob *job);
