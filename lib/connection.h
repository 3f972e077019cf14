/* connection.h: one request and its reply over a session's socket, for the functions of the
 * library.
 *
 * Owns nothing; the session owns its socket. Always holds: after an answer that makes no sense the
 * socket is shut down, and every later request fails. */
#pragma once

#include "policy/io-ring.h"
#include "policy/vfio-user.h"
#include "policy/zpci-request.h"

#define _public_ __attribute__((visibility("default")))

/* The ring of a session, see ring.h. */
typedef struct RingSide {
        IoRingMemory *memory;  /* NULL: none */
        int requests, replies; /* eventfds, -1: none */
        uint32_t spin_usec;
        uint32_t tail; /* requests so far */
        bool offered;  /* and not tried yet */
        bool is_off;   /* the program wants none */
} RingSide;

/* A session; the public header has its name alone. */
typedef struct VfwardenIo {
        int socket;
        int notice_fd; /* -1 as long as nobody asked */
        uint16_t id;   /* of the last message */
        char backend[16];
        uint16_t max_store_block;
        bool relaxed;
        uint64_t size[ZPCI_N_BARS];
        uint64_t config_size;
        RingSide ring;
} VfwardenIo;

/* No message takes more. */
#define REQUEST_FDS_MAX 32U

/* A request in the making: its fixed part, what follows, and descriptors that go along. */
typedef struct Request {
        VfioUserCommand command;
        const void *fixed, *data;
        size_t fixed_size, data_size;
        const int *fds;
        size_t n_fds;
} Request;

/* Sends a request and waits for its reply, whose payload, from `least` to `most` bytes, is written
 * to `reply`. Returns how many there were, or a negative errno, which may be the other side's
 * answer. */
int connection_ask(VfwardenIo *io, const Request *request, void *reply, size_t least, size_t most);

/* For one with nothing in its reply. Returns 0 or a negative errno. */
int connection_order(VfwardenIo *io, const Request *request);

/* One read or write of a region; `data` is written by a read and read by a write. Returns 0 or a
 * negative errno. */
int connection_access(VfwardenIo *io, bool write, uint32_t region, uint64_t offset, void *data,
                      size_t length);

/* Nothing that comes after this could be understood. Returns -EPROTO. */
int connection_give_up(VfwardenIo *io);
