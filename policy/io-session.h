/* io-session.h: an I/O session: one client that loads from and stores to one function through
 * vfwarden-io.
 *
 * A plain record; the daemon owns them, a Function points to its own. */
#pragma once

#include "policy/io-report.h"

#include <stdbool.h>
#include <stdint.h>

#define IO_SESSION_BACKEND_MAX 16

typedef struct IoSession {
        uint32_t pid; /* of the client, when it opened the session */
        uint32_t uid;
        char *command;       /* UTF-8, "" unknown */
        char *unit;          /* "" none */
        uint64_t since_usec; /* CLOCK_REALTIME */
        uint32_t io_pid;     /* of vfwarden-io, 0 as long as there is none */
        uint32_t opener_pid; /* of the process that opened the device for it, 0: none did */
        bool single;         /* for single requests over D-Bus, and not for a client */
        bool idle;           /* and none is in progress: it ends when anybody wants the function */
        bool ready;          /* what follows is known */
        bool relaxed, pieces;
        uint16_t max_store_block;
        char backend[IO_SESSION_BACKEND_MAX];
        IoCounts counts;       /* as vfwarden-io reported them, which nobody needs to believe */
        uint64_t counted_usec; /* CLOCK_REALTIME of that report, 0: none came yet */
} IoSession;
