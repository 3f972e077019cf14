/* scanner.h: the daemon's side of the scanner, the process that looks into /proc (scan-child.h).
 *
 * Owns that process, its pending requests, and what it must leave out. Nothing here waits. A
 * scanner that is at one process for HANG_USEC and does not run is killed. Another one gets the
 * same requests, and leaves out what the first hung at. One that hangs may not even end when it is
 * killed; at most STUCK_MAX of those are left behind. Until one of them ends there is no other, and
 * requests wait. Handlers may make more requests, but must not free the scanner. */
#pragma once

#include "daemon/scan/scan.h"
#include "daemon/scan/vfio-marks.h"

#include <glib.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

typedef struct Scanner Scanner;

typedef struct ScannerHandler {
        /* Part of an answer; SCAN_KIND_DONE is the last. After a scanner was killed parts may come
         * twice. */
        void (*answer)(void *context, const ScanRequest *request, const ScanAnswer *answer);
        /* The scanner hung at this process, which is left out from now on, in what `avoid` says.
         * NULL: no matter. */
        void (*hung)(void *context, pid_t pid, ScanAvoid avoid);
} ScannerHandler;

/* Returns 0, or a negative errno. `name` is the process's, at most 15 characters. In `marks`, which
 * may be NULL and must outlive it, are the nodes of a /dev of their own that it finds. */
int scanner_new(sd_event *event, const char *name, VfioMarks *marks, const ScannerHandler *handler,
                void *context, Scanner **ret);
Scanner *scanner_free(Scanner *scanner);

/* Asks; `request->ticket` is set, and counts up. The answer never comes from within. Requests are
 * sent in their order, urgent ones first. */
uint64_t scanner_ask(Scanner *scanner, ScanRequest *request, bool urgent);

/* The ticket of the next request; of the oldest one that is not done, or the next one's. */
uint64_t scanner_next_ticket(const Scanner *scanner);
uint64_t scanner_oldest_ticket(const Scanner *scanner);

/* How many requests are not done. */
unsigned scanner_pending(const Scanner *scanner);
