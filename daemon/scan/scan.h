/* scan.h: what the daemon and its scanner say to each other.
 *
 * Plain messages over a SOCK_SEQPACKET pair, each in one packet, and the page of memory in which
 * the scanner shows how far it is. The scanner (scan-child.h) is a process of the daemon that looks
 * into /proc for it: a process that is looked at may have a million descriptors, and some files of
 * /proc wait for locks that the process holds for as long as it likes. The daemon (scanner.h) kills
 * a scanner that hangs and goes on with another. */
#pragma once

#include "policy/device-file.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Of one process as many are reported; more of them make it a possible user of every open
 * function. */
#define SCAN_GROUPS_MAX    256
#define SCAN_FUNCTIONS_MAX 256
#define SCAN_NODES_MAX     16
/* Descriptors by which a look can tell cheaply that nothing was closed, if a process has no others.
 * Copies of one file need no place. */
#define SCAN_NUMBERS_MAX 32
#define SCAN_COMM_MAX    64
#define SCAN_UNIT_MAX    256
#define SCAN_COMMAND_MAX 4096
#define SCAN_PATH_MAX    512
#define SCAN_SAME_MAX    64

typedef enum ScanTask {
        SCAN_TASK_LOOK,    /* at the process `pid` */
        SCAN_TASK_WALK,    /* look at all processes */
        SCAN_TASK_WRITERS, /* who has a file of sysfs open for writing that takes a function away */
        SCAN_TASK_COMMAND, /* read the command line of `pid` */
} ScanTask;

typedef struct ScanRequest {
        uint64_t ticket;
        uint32_t task;
        int32_t pid;
        uint64_t start_time; /* of `pid`: another process with its pid is not meant; 0: any */
        bool sockets;        /* SCAN_TASK_WALK: tell who has sockets in which descriptors wait */
        uint32_t n_numbers;  /* look only if one of these is no descriptor of VFIO any more; 0: in
                                any case */
        int32_t numbers[SCAN_NUMBERS_MAX];
} ScanRequest;

typedef enum ScanState {
        SCAN_STATE_NOTHING,   /* it has nothing of VFIO open, or is not there */
        SCAN_STATE_HOLDS,     /* it has */
        SCAN_STATE_UNCHANGED, /* none of `numbers` was closed */
        SCAN_STATE_UNKNOWN,   /* it cannot be looked at */
} ScanState;

typedef struct ScanProcess {
        uint32_t state; /* ScanState; the rest is for SCAN_STATE_HOLDS, but `pid` */
        int32_t pid, parent;
        uint32_t uid; /* as ProcessStatus has it */
        uint64_t start_time;
        uint32_t n_groups, n_functions, n_nodes, n_numbers;
        uint32_t n_unnamed; /* device descriptors that name no function */
        bool pending;      /* descriptors wait in a socket of its; not for SCAN_STATE_HOLDS alone */
        bool more_numbers; /* it has other descriptors of VFIO than `numbers` */
        int32_t groups[SCAN_GROUPS_MAX];
        uint64_t functions[SCAN_FUNCTIONS_MAX]; /* of PciKey */
        uint64_t nodes[SCAN_NODES_MAX];         /* dev_t of which sysfs knows nothing */
        int32_t numbers[SCAN_NUMBERS_MAX];
        char comm[SCAN_COMM_MAX], unit[SCAN_UNIT_MAX], machine[SCAN_UNIT_MAX];
} ScanProcess;

/* Processes that have one file between them: a device descriptor that names no function. */
typedef struct ScanSame {
        uint32_t n_pids;
        int32_t pids[SCAN_SAME_MAX];
} ScanSame;

/* A process with a socket in which descriptors wait, or that cannot be looked at, and may have
 * such. One whose owner cannot be read counts as root's. */
typedef struct ScanPending {
        int32_t pid;
        bool lost;    /* it ended before the look at it, and others may have been forked faster than
                         looks can follow: whose it was is not known, and the rest is not set */
        uint32_t uid; /* as ProcessStatus has it */
        ProcessGroups groups;
} ScanPending;

typedef struct ScanWriter {
        int32_t pid;
        char path[SCAN_PATH_MAX]; /* as external_removal_path() cuts it */
} ScanWriter;

typedef struct ScanCommand {
        int32_t pid;
        uint32_t size;
        char words[SCAN_COMMAND_MAX]; /* each with its NUL */
} ScanCommand;

typedef enum ScanKind {
        SCAN_KIND_PROCESS,
        SCAN_KIND_SAME,
        SCAN_KIND_PENDING,
        SCAN_KIND_WRITER,
        SCAN_KIND_COMMAND,
        SCAN_KIND_DONE, /* the last of a request */
} ScanKind;

typedef struct ScanAnswer {
        uint32_t kind;
        int32_t result; /* with SCAN_KIND_DONE: 0, or a negative errno when something could not be
                           looked at */
        uint64_t ticket;
        union {
                ScanProcess process;
                ScanSame same;
                ScanPending pending;
                ScanWriter writer;
                ScanCommand command;
        };
} ScanAnswer;

/* Shared by both. `pid` is 0 while the scanner is not at any process, and then none is to blame if
 * it hangs. */
typedef struct ScanProgress {
        _Atomic uint64_t steps;
        _Atomic int32_t pid;
        _Atomic int32_t
                peer; /* of a process: it and `pid` are compared by kcmp(2); or one of the next: */
#define SCAN_PEER_NONE 0
#define SCAN_PEER_STAT (-1) /* /proc/PID/stat is being read */
} ScanProgress;

/* What a scanner hung at: the next one leaves it out. */
typedef enum ScanAvoid {
        SCAN_AVOID_COMPARING = 1 << 0,
        SCAN_AVOID_STAT = 1 << 1,
        SCAN_AVOID_LOOKING = 1 << 2,
} ScanAvoid;

typedef struct ScanAvoided {
        int pidfd;     /* readable when the process has ended, and its pid may be another's */
        unsigned what; /* ScanAvoid bits */
        uint32_t uid;
        uint64_t wait_usec; /* SCAN_AVOID_LOOKING: for so long it is left out ... */
        uint64_t end_usec;  /* ... until then, CLOCK_MONOTONIC */
} ScanAvoided;

/* A scanner hung at so many processes of one user: nothing that can hang is done to their others;
 * or of all users: nothing of that is done to any but root's. */
#define SCAN_SUSPECT_PROCESSES 8
#define SCAN_SUSPECT_OF_USERS  32
