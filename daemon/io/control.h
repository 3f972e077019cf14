/* control.h: what the daemon and vfwarden-io say to each other.
 *
 * A socket of type SOCK_SEQPACKET, one structure a packet. The daemon sends orders; each is answered with one report
 * of the same kind. Besides, IO_READY or IO_FAILED is the first packet from vfwarden-io, and IO_CLOSED the last one
 * when it ends because its client did. A report that the daemon does not take at once is dropped, so a stopped daemon
 * stops no session.
 *
 * The daemon may end and leave its end of the socket to its successor (systemd's fd store): vfwarden-io notices
 * nothing. Where nobody keeps it, the session goes on until its client ends; it is then a process that uses the function
 * as any other. A vfwarden-io without a client, which serves single requests, ends with its daemon.
 *
 * An order waits for the request that is under way, and a device may keep that for as long as it likes: who gives orders
 * has a deadline, and kills.
 *
 * Owns nothing. Included by the daemon. */
#pragma once

#include <stdint.h>

#define IO_BACKEND_NAME_MAX 16
#define IO_DATA_MAX         4096

typedef enum IoKind {
        IO_READY = 1, /* report: the session is served, or single requests awaited */
        IO_FAILED,    /* report: it could not start; `error` says why */
        IO_CLOSED,    /* report: the client has gone, `error` is 0, or broke the protocol */
        IO_STATUS,    /* order: tell the counts */
        IO_DRAIN, /* order: the function is to be unplugged; the client is told, and still served */
        IO_END,   /* order: answer everything from now on with ENODEV, and close the device */
        IO_GONE,  /* order: the same; the device has gone already */
        IO_LOAD,  /* order, single requests: `pcias`, `offset`, `length`; the report has the data */
        IO_STORE, /* order, single requests: `data` has `length` bytes */
} IoKind;

typedef struct IoOrder {
        uint32_t kind;
        uint32_t pcias;
        uint64_t offset;
        uint32_t length;
        uint8_t data[IO_DATA_MAX]; /* left out of the packet as far as it is not used */
} IoOrder;

#define IO_ORDER_MIN (sizeof(uint32_t))

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
        /* What the back end is and can do; in every report but IO_FAILED. */
        char backend[IO_BACKEND_NAME_MAX];
        uint64_t bar_size[6];
        uint16_t max_store_block;
        uint8_t relaxed;
        uint8_t pieces; /* stores longer than 8 bytes may be done in pieces, by the kernel */
        uint32_t reserved;
} IoReport;
