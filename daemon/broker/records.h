/* records.h: what the broker writes into state.json.
 *
 * Owns the form of three lists and what a valid record of each is. */
#pragma once

#include "daemon/base/files/state.h"
#include "policy/lease.h"

/* An I/O session that is served. */
typedef struct StateSession {
        uint64_t number; /* under which systemd keeps the control socket */
        PciKey key;
        uint64_t inode;
        uint32_t io_pid;
        uint64_t io_start_time;
        uint64_t max_mapped;
        uint32_t uid, pid;
        char *command, *unit;
        uint64_t since_usec;
} StateSession;

/* A descriptor that was opened for a client. */
typedef struct StateLease {
        PciKey key;
        uint64_t inode, binding;
        int32_t group;
        char *node;  /* below /dev/vfio */
        Lease lease; /* strings owned; systemd keeps its delivery pipe under its generation */
} StateLease;

/* A physical function that was given a token, which is not here. */
typedef struct StateVfToken {
        uint64_t number; /* under which systemd keeps it */
        PciKey key;
        uint64_t inode, binding;
        bool imposed;
} StateVfToken;

extern const StateSection sessions_section;
extern const StateSection leases_section;
extern const StateSection vf_tokens_section;
