/* io-ring.h: loads and stores through memory that a client shares with its session.
 *
 * Owns nothing. Has the layout of the memory, and the rules for what stands in it. The client may
 * change every byte of it at any time, so the session copies a request once and judges the copy.
 * The session's own counters are not in that memory: what is there is what it tells the client.
 *
 * A counter of requests wraps around. Request N is in the entry N modulo the number of entries. The
 * client fills entries and then advances `tail`; the session executes them in this order, writes
 * each result to the request's entry, and advances `head`. */
#pragma once

#include "policy/vfio-user.h"
#include "policy/zpci-request.h"

#include <stdbool.h>
#include <stdint.h>

/* As the client asks for it in the text of VERSION, and as it is offered there. */
#define IO_RING_CAPABILITY    "\"vfwarden_ring\""

#define IO_RING_ENTRIES_MIN   2U
#define IO_RING_ENTRIES_MAX   64U
#define IO_RING_SPIN_MAX_USEC 50U

/* So much without a pause, then the socket is looked at. */
#define IO_RING_BATCH 4096U

/* How often in a row the session may be woken without a request. It may happen once, when the
 * session sees a request before it sleeps, and the client has signalled that it sleeps. An eventfd
 * that counts down by one (EFD_SEMAPHORE) would do it 2^64 times for one write. */
#define IO_RING_EMPTY_WAKES_MAX 8U

/* The client's part; other bytes are 0. A cache line of s390 has 256 bytes. */
typedef struct IoRingClient {
        _Alignas(256) uint32_t tail; /* requests so far */
        uint32_t messages;           /* is changed with each message that is sent over the socket */
        uint32_t waits;              /* not 0: signal the eventfd for replies */
} IoRingClient;

typedef struct IoRingServer {
        _Alignas(256) uint32_t head; /* requests executed so far */
        uint32_t waits;              /* not 0: signal the eventfd for requests */
} IoRingServer;

typedef enum IoRingKind {
        IO_RING_LOAD = 1,
        IO_RING_STORE,
} IoRingKind;

/* The client writes the entry, the session its `data` (of a load) and `error`. */
typedef struct IoRingEntry {
        uint32_t kind;
        uint32_t region; /* a BAR, 0 to 5 */
        uint64_t offset;
        uint32_t count;       /* 1 to 8 bytes, as the rules for loads and stores have it */
        uint32_t error;       /* the result: 0, or an errno */
        uint64_t data;        /* its first `count` bytes, as they are in memory */
        uint64_t reserved[4]; /* 0 */
} IoRingEntry;

/* Two pages of 4 KiB, whatever the number of entries. No huge page is so small, so no file of them
 * has this size. */
typedef struct IoRingMemory {
        IoRingClient client;
        IoRingServer server;
        uint8_t reserved[4096 - 2 * 256];
        IoRingEntry entries[IO_RING_ENTRIES_MAX];
} IoRingMemory;

/* Whether the text of a client's VERSION, of `size` bytes, asks for a ring. The name alone is
 * looked for: the rest of the text makes no difference. */
bool io_ring_is_asked(const uint8_t *text, size_t size);

/* What a client may have of what it asks for. `may_spin`: there is more than one processor. Returns
 * 0, or -EINVAL: the number of entries is no power of two between the limits, or a flag is set. */
int io_ring_check_setup(const VfioUserRing *asked, bool may_spin, VfioUserRing *ret);

/* How many requests are pending after `head`: 0 up to `entries`, or -EBADMSG for more: what the
 * entries have is not known then, and the session ends. */
int io_ring_pending(uint32_t head, uint32_t tail, uint32_t entries);

/* Whether the session does what the copied entry asks: 0 or -EINVAL. */
int io_ring_check_entry(const ZpciTarget *target, const IoRingEntry *entry);

/* A side that looks at the memory again and again, for the time that was granted; zeroed: it
 * begins. */
typedef struct IoRingSpin {
        unsigned looks;
        uint64_t end_usec;
} IoRingSpin;

/* Called after each look in vain; lets the processor rest for a moment. Asks the clock `now_usec`
 * at some of the looks only. Whether to look once more: until `max_usec`, not 0, have passed. */
bool io_ring_spins_on(IoRingSpin *spin, uint32_t max_usec, uint64_t (*now_usec)(void));

/* The session was woken by the eventfd for requests and found `pending` ones. `empty_wakes` counts
 * those in a row that found none. Returns 0, or -EBADMSG for too many: the session ends. */
int io_ring_woken(int pending, unsigned *empty_wakes);
