#include "lib/ring.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define LOAD(place)         __atomic_load_n(place, __ATOMIC_RELAXED)
#define STORE(place, value) __atomic_store_n(place, value, __ATOMIC_RELAXED)

/* One access is pending at a time. */
#define ENTRIES IO_RING_ENTRIES_MIN

static void close_event(int *fd) {
        if (*fd >= 0)
                close(*fd);
        *fd = -1;
}

void ring_free(RingSide *ring) {
        if (ring->memory)
                munmap(ring->memory, sizeof(*ring->memory));
        ring->memory = NULL;
        close_event(&ring->requests);
        close_event(&ring->replies);
}

/* --- setting up */

static IoRingMemory *map_memory(int fd) {
        void *memory;

        if (ftruncate(fd, sizeof(IoRingMemory)) < 0 ||
            fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
                return NULL;
        memory = mmap(NULL, sizeof(IoRingMemory), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        return memory == MAP_FAILED ? NULL : memory;
}

static bool ask_for_ring(VfwardenIo *io, int memory) {
        RingSide *ring = &io->ring;
        const int fds[VFIO_USER_RING_FDS] = { memory, ring->requests, ring->replies };
        VfioUserRing setup = {
                .argsz = sizeof(setup),
                .entries = ENTRIES,
                .max_spin_usec = IO_RING_SPIN_MAX_USEC,
        };
        const Request request = { VFIO_USER_VFWARDEN_RING, &setup, NULL, sizeof(setup), 0, fds,
                                  VFIO_USER_RING_FDS };

        if (connection_ask(io, &request, &setup, sizeof(setup), sizeof(setup)) < 0 ||
            setup.entries != ENTRIES || setup.max_spin_usec > IO_RING_SPIN_MAX_USEC)
                return false;
        ring->spin_usec = setup.max_spin_usec;
        /* A side that always sleeps first is slower than the socket. */
        return setup.max_spin_usec > 0;
}

static void set_up(VfwardenIo *io) {
        RingSide *ring = &io->ring;
        int fd = memfd_create("vfwarden-ring", MFD_CLOEXEC | MFD_ALLOW_SEALING);

        ring->offered = false; /* it is tried once */
        ring->requests = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        ring->replies = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (fd >= 0)
                ring->memory = map_memory(fd);
        if (!ring->memory || ring->requests < 0 || ring->replies < 0 || !ask_for_ring(io, fd))
                ring_free(ring);
        if (fd >= 0)
                close(fd);
}

bool ring_takes(VfwardenIo *io, size_t length) {
        RingSide *ring = &io->ring;

        if (ring->is_off || length == 0 || length > sizeof(uint64_t))
                return false;
        if (ring->offered)
                set_up(io);
        return ring->memory;
}

/* --- an access */

static uint64_t now_usec(void) {
        struct timespec now = { 0 };

        (void) clock_gettime(CLOCK_MONOTONIC, &now);
        return (uint64_t) now.tv_sec * 1000000U + (uint64_t) now.tv_nsec / 1000U;
}

static bool is_done(const RingSide *ring) {
        return __atomic_load_n(&ring->memory->server.head, __ATOMIC_ACQUIRE) == ring->tail;
}

static bool spin(const RingSide *ring) {
        IoRingSpin spinning = { 0 };

        do
                if (is_done(ring))
                        return true;
        while (io_ring_spins_on(&spinning, ring->spin_usec, now_usec));
        return false;
}

/* No reply over the socket is pending, so only its end makes it readable. */
static int wait_asleep(VfwardenIo *io) {
        RingSide *ring = &io->ring;
        struct pollfd fds[] = { { ring->replies, POLLIN, 0 }, { io->socket, POLLIN, 0 } };
        bool ended = false, done;
        eventfd_t count;

        STORE(&ring->memory->client.waits, 1);
        /* Either the new head is seen here, or the session sees that it has to signal. */
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        while (!(done = is_done(ring)) && !ended) {
                if (poll(fds, 2, -1) < 0) {
                        ended = errno != EINTR;
                        continue;
                }
                if (fds[0].revents != 0)
                        (void) eventfd_read(ring->replies, &count);
                ended = fds[1].revents != 0;
        }
        STORE(&ring->memory->client.waits, 0);
        return done || is_done(ring) ? 0 : -ECONNRESET;
}

static void post(RingSide *ring, bool write, uint32_t region, uint64_t offset, uint64_t data,
                 size_t length) {
        IoRingMemory *memory = ring->memory;
        IoRingEntry *entry = &memory->entries[ring->tail % ENTRIES];

        STORE(&entry->kind, write ? IO_RING_STORE : IO_RING_LOAD);
        STORE(&entry->region, region);
        STORE(&entry->offset, offset);
        STORE(&entry->count, (uint32_t) length);
        STORE(&entry->data, data);
        __atomic_store_n(&memory->client.tail, ++ring->tail, __ATOMIC_RELEASE);
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        if (LOAD(&memory->server.waits) != 0)
                (void) eventfd_write(ring->requests, 1);
}

int ring_access(VfwardenIo *io, bool write, uint32_t region, uint64_t offset, void *data,
                size_t length) {
        RingSide *ring = &io->ring;
        const IoRingEntry *entry = &ring->memory->entries[ring->tail % ENTRIES];
        uint64_t word = 0;
        uint32_t error;

        if (write)
                memcpy(&word, data, length);
        post(ring, write, region, offset, word, length);
        if (!spin(ring)) {
                int r = wait_asleep(io);

                if (r < 0)
                        return r;
        }
        error = LOAD(&entry->error);
        word = LOAD(&entry->data);
        if (error >= 4096)
                return connection_give_up(io);
        if (error == 0 && !write)
                memcpy(data, &word, length);
        return -(int) error;
}
