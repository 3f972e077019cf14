/* io-report.h: what vfwarden-io reports, and whether the daemon may believe it.
 *
 * Owns nothing. vfwarden-io has no privilege and reads what a client sends, so it may be under an
 * attacker's control: its reports are as untrusted as a client's data. Always holds: each report
 * that io_report_take() accepts answers a pending order, or is the first or the last one of a
 * process. So a process cannot report more than it was asked. All values are in the ranges of
 * vfwarden-io itself, and texts come from fixed lists. After the first report that does not fit no
 * other may be read. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IO_BACKEND_NAME_MAX 16

typedef enum IoKind {
        IO_READY = 1, /* report: the session is served, or single requests awaited */
        IO_FAILED,    /* report: it could not start; `error` says why */
        IO_CLOSED,    /* report: the client has gone, `error` is 0, or broke the protocol */
        IO_STATUS,    /* order: report the counts */
        IO_DRAIN,     /* order: the function is to be unplugged; the client is notified, and still
                         served */
        IO_END,       /* order: answer everything from now on with ENODEV, and close the device */
        IO_GONE,      /* order: the same; the device has gone already */
        IO_LOAD,  /* order, single requests: `pcias`, `offset`, `length`; the report has the data */
        IO_STORE, /* order, single requests: `data` has `length` bytes */
        IO_KIND_MAX,
} IoKind;

typedef struct IoCounts {
        uint64_t loads, stores; /* that the device did */
        uint64_t bytes_loaded, bytes_stored;
        uint64_t refused;    /* requests that were answered with an error, of whatever kind */
        uint64_t unreported; /* of these, the ones whose sender wanted no reply */
        uint64_t mapped;     /* bytes of the client's memory, now */
        uint32_t maps;
        uint32_t reserved;
} IoCounts;

typedef struct IoReport {
        uint32_t kind;
        int32_t error; /* 0 or a negative errno */
        /* A ZpciViolation, why a single request was refused; then `error` is -EINVAL. */
        uint32_t violation;
        uint32_t length; /* of `data` */
        uint8_t data[8]; /* what was loaded */
        IoCounts counts;
        /* The kind and the limits of the back end; in every report but IO_FAILED. */
        char backend[IO_BACKEND_NAME_MAX];
        uint64_t bar_size[6];
        uint16_t max_store_block;
        uint8_t relaxed;
        uint8_t pieces; /* stores longer than 8 bytes may be done in pieces, by the kernel */
        uint32_t reserved;
} IoReport;

/* The state of one process: what it was ordered and has not answered, and what it said of its back
 * end. */
typedef struct IoReports {
        bool emulated; /* memory stands for the device; if `adopted`, that is not known */
        bool adopted;  /* orders of an earlier daemon may be pending, too */
        bool began, ended;
        unsigned pending, stale; /* a bit for each IoKind */
        uint32_t load_length;    /* of the pending load */
        bool has_facts;          /* those below are known, and stay */
        char backend[IO_BACKEND_NAME_MAX];
        uint16_t max_store_block;
        uint8_t relaxed, pieces;
} IoReports;

typedef enum IoFault {
        IO_FAULT_NONE,
        IO_FAULT_SIZE,
        IO_FAULT_KIND,
        IO_FAULT_UNEXPECTED,
        IO_FAULT_ERROR,
        IO_FAULT_DATA,
        IO_FAULT_BACKEND,
        IO_FAULT_FACTS,
        IO_FAULT_MAX,
        IO_FAULT_INVALID = -22, /* -EINVAL */
} IoFault;

/* In words, for people: what was wrong with a report. */
const char *io_fault_to_string(IoFault fault);

/* A process that was started now. */
IoReports io_reports_new(bool emulated);

/* A session that an earlier daemon started. Reports to that one may still come, one for each kind
 * of order. */
IoReports io_reports_adopted(void);

/* Whether the process may be given an order of this kind: it has begun, has not ended, and has
 * answered the last one. */
bool io_reports_may_order(const IoReports *reports, IoKind kind);

/* It was given one; `length` is that of a load. */
void io_reports_ordered(IoReports *reports, IoKind kind, uint32_t length);

/* Judges a packet of `size` bytes. With IO_FAULT_NONE `ret` has the report: its `backend` is
 * terminated, and the error of a single request is -EINVAL with a violation, -ENODEV, or -EIO for
 * whatever the device or the kernel had against it. */
IoFault io_report_take(IoReports *reports, const void *packet, size_t size, IoReport *ret);
