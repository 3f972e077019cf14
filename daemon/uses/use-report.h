/* use-report.h: what the daemon and a process that looks at the host's uses say to each other.
 *
 * Plain messages over the SOCK_SEQPACKET channel of a helper (daemon/base/helper.h). The daemon
 * asks with a ticket; the process answers with all uses and names of devices that it sees, and a
 * message that ends them.
 * Without being asked it does the same when the kernel has reported a change. */
#pragma once

#include "policy/address.h"
#include "policy/device-names.h"
#include "policy/use.h"

#include <errno.h>

/* IFNAMSIZ, and the kernel's DISK_NAME_LEN with the number of a partition. */
#define USE_OBJECT_MAX 48
#define USE_BY_MAX     256

/* So many uses of all functions are reported, and of each other function one that stands against
 * operations. */
#define USES_MAX 16384

/* So many names of devices are reported, those that were seen first. */
#define USE_NAMES_MAX 16384

typedef struct UseQuestion {
        uint64_t ticket;
} UseQuestion;

typedef enum UseReportKind {
        USE_REPORT_USE,
        USE_REPORT_NAME,      /* of a device of the function: `object`, and `kind` */
        USE_REPORT_END,       /* of all uses; `ticket`, `result` */
        USE_REPORT_UNCHANGED, /* all is as reported last; `ticket`, `result` 0 */
        USE_REPORT_ALIVE,     /* the look goes on; nothing else in it */
        USE_REPORT_NOTE,      /* what was not looked at, for people: `by` */
} UseReportKind;

/* The ticket of a process that cannot even begin to look, and ends. */
#define USE_TICKET_ALL UINT64_MAX

/* A result: a process of root's does not let its mappings or threads be read, perhaps for good, as
 * while it waits for a file system that does not answer, or begins threads as fast as they are
 * listed; after a few of the former, others of root's are not asked. All else was seen. */
#define USE_PARTLY_SEEN (-ETIME)

/* The result of two parts of a look: that which hides more. */
static inline int use_result_join(int a, int b) {
        return a == 0 || (a == USE_PARTLY_SEEN && b < 0) ? b : a;
}

typedef struct UseReport {
        uint32_t report; /* UseReportKind */
        int32_t result;  /* 0, or a negative errno: the uses are not all that there are */
        uint64_t ticket; /* of the last question that the look has answered; 0: none */
        PciKey key;
        uint32_t kind; /* UseKind, or DeviceNameKind */
        uint32_t pid;
        char object[USE_OBJECT_MAX], by[USE_BY_MAX];
} UseReport;
