/* ring.h: loads and stores through memory that the client shares. While both sides spin, a request
 * takes no system call but that of the access to the device.
 *
 * Owns the mapping, the eventfd that the client signals, and the one that it is signalled by. The
 * client's thread alone calls it, between two messages; so a request of the ring and a message are
 * never executed at the same time. The rules are those of policy/io-ring.h.
 *
 * Always holds: the memory is a file that can neither shrink nor grow, so an access to it raises no
 * SIGBUS. What the client writes there is copied once, and then judged. Spinning ends after the
 * granted time without a request, and begins only after a request. No call on a descriptor of the
 * client's waits: the eventfd for requests is read without waiting whatever its flags are, and the
 * one for replies is written to by a thread that does nothing else (notifier.h). */
#pragma once

#include "daemon/io/client-fds.h"
#include "daemon/io/device.h"
#include "daemon/io/notifier.h"
#include "daemon/io/reply.h"
#include "policy/io-ring.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct Ring {
        bool offered, may_spin;
        IoRingMemory *memory; /* NULL as long as the client has set none up */
        int requests;
        Notifier replies;
        uint32_t entries, spin_usec;
        uint32_t head;     /* requests executed so far */
        uint32_t messages; /* the client's counter, as it was last seen */
        unsigned empty_wakes;
        bool hot;         /* a request was executed since the last sleep */
        uint64_t refused; /* requests that were answered with an error; atomic */
} Ring;

/* `may_spin`: there is more than one processor. */
void ring_init(Ring *ring, bool offered, bool may_spin);

/* The client's order, with its descriptors; adds what is granted to `reply`. Returns 0; -EOPNOTSUPP
 * when a ring is not offered, or the kernel cannot read an eventfd without waiting; -EEXIST when
 * there is one; -EINVAL for anything wrong with the order or a descriptor; -ENOSPC when there is no
 * room to map it. On failure nothing has changed. */
int ring_set_up(Ring *ring, const VfioUserRing *asked, ClientFds *fds, Reply *reply);

static inline bool ring_is_up(const Ring *ring) {
        return ring->memory;
}

/* Executes requests until the client's `socket` is to be read, which may then have nothing. Returns
 * 0, or -EBADMSG when the client broke the rules. */
int ring_serve(Ring *ring, Device *device, int socket);

uint64_t ring_refused(const Ring *ring);

/* For the fuzzer; the end of the process does it otherwise. */
void ring_close(Ring *ring);
