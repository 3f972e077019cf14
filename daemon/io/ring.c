#include "daemon/io/ring.h"

#include "daemon/io/memory.h"
#include "daemon/io/util.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <time.h>

#define LOAD(place)         __atomic_load_n(place, __ATOMIC_RELAXED)
#define STORE(place, value) __atomic_store_n(place, value, __ATOMIC_RELAXED)

void ring_init(Ring *ring, bool offered, bool may_spin) {
        memset(ring, 0, sizeof(*ring));
        ring->offered = offered;
        ring->may_spin = may_spin;
        ring->requests = -1;
        notifier_init(&ring->replies);
}

uint64_t ring_refused(const Ring *ring) {
        return LOAD(&ring->refused);
}

/* --- setting up */

/* Takes what an eventfd counts. RWF_NOWAIT, and not O_NONBLOCK: the client can undo that. Returns
 * 0, also when there was nothing, or a negative errno. */
static int read_event(int fd) {
        uint64_t count;
        struct iovec iov = { &count, sizeof(count) };
        ssize_t n = preadv2(fd, &iov, 1, -1, RWF_NOWAIT);

        if (n == sizeof(count) || (n < 0 && (errno == EAGAIN || errno == EINTR)))
                return 0;
        return n < 0 && errno == EOPNOTSUPP ? -EOPNOTSUPP : -EINVAL;
}

/* Other anonymous files with a readable number, such as a timer, are of no use to the client: see
 * IO_RING_EMPTY_WAKES_MAX. A write to them is refused by the kernel. */
static int check_event(int fd) {
        return client_fd_is_anonymous(fd) ? read_event(fd) : -EINVAL;
}

static bool is_ring_memory(int fd) {
        static const int seals = F_SEAL_SHRINK | F_SEAL_GROW;

        return io_memory_is_open_for(fd, true, true) && (fcntl(fd, F_GET_SEALS) & seals) == seals &&
               io_memory_file_size(fd) == sizeof(IoRingMemory);
}

int ring_set_up(Ring *ring, const VfioUserRing *asked, ClientFds *fds, Reply *reply) {
        VfioUserRing granted;
        void *memory;
        int r;

        if (!ring->offered)
                return -EOPNOTSUPP;
        if (ring_is_up(ring))
                return -EEXIST;
        r = io_ring_check_setup(asked, ring->may_spin, &granted);
        if (r >= 0 && (fds->n != VFIO_USER_RING_FDS || !is_ring_memory(fds->fds[0])))
                r = -EINVAL;
        if (r >= 0)
                r = check_event(fds->fds[1]);
        if (r >= 0)
                r = check_event(fds->fds[2]);
        /* So that a full one needs no waiting, as a rule. */
        if (r >= 0 && fcntl(fds->fds[2], F_SETFL, O_NONBLOCK) < 0)
                r = -EINVAL;
        if (r < 0)
                return r;
        memory = mmap(NULL, sizeof(IoRingMemory), PROT_READ | PROT_WRITE, MAP_SHARED, fds->fds[0],
                      0);
        if (memory == MAP_FAILED)
                return errno == ENOMEM ? -ENOSPC : -EINVAL;
        ring->memory = memory;
        ring->entries = granted.entries;
        ring->spin_usec = granted.max_spin_usec;
        ring->requests = take_fd(&fds->fds[1]);
        notifier_set(&ring->replies, take_fd(&fds->fds[2]));
        reply_add(reply, &granted, sizeof(granted));
        return 0;
}

void ring_close(Ring *ring) {
        if (ring->memory)
                munmap(ring->memory, sizeof(*ring->memory));
        ring->memory = NULL;
        closep(&ring->requests);
        notifier_set(&ring->replies, -1);
}

/* --- requests */

static int pending(const Ring *ring) {
        uint32_t tail = __atomic_load_n(&ring->memory->client.tail, __ATOMIC_ACQUIRE);

        return io_ring_pending(ring->head, tail, ring->entries);
}

/* Each field once: the client may change them meanwhile. */
static IoRingEntry copy_entry(const IoRingEntry *shared) {
        IoRingEntry entry = {
                .kind = LOAD(&shared->kind),
                .region = LOAD(&shared->region),
                .offset = LOAD(&shared->offset),
                .count = LOAD(&shared->count),
                .data = LOAD(&shared->data),
        };

        for (size_t i = 0; i < ELEMENTS(entry.reserved); i++)
                entry.reserved[i] = LOAD(&shared->reserved[i]);
        return entry;
}

static int execute(Device *device, IoRingEntry *entry) {
        int r = io_ring_check_entry(device_target(device), entry);

        if (r < 0)
                return r;
        if (entry->kind == IO_RING_STORE)
                return device_store(device, entry->region, entry->offset, &entry->data,
                                    entry->count);
        entry->data = 0;
        return device_load(device, entry->region, entry->offset, &entry->data, entry->count);
}

static void serve_next(Ring *ring, Device *device) {
        IoRingMemory *memory = ring->memory;
        IoRingEntry *shared = &memory->entries[ring->head % ring->entries];
        IoRingEntry entry = copy_entry(shared);
        int r = execute(device, &entry);

        if (r < 0)
                __atomic_fetch_add(&ring->refused, 1, __ATOMIC_RELAXED);
        else if (entry.kind == IO_RING_LOAD)
                STORE(&shared->data, entry.data);
        STORE(&shared->error, r < 0 ? (uint32_t) -r : 0);
        ring->head++;
        /* Either the client sees the new head before it sleeps, or it is seen here that it does. */
        __atomic_store_n(&memory->server.head, ring->head, __ATOMIC_RELEASE);
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        if (LOAD(&memory->client.waits) != 0)
                notifier_ask(&ring->replies);
}

/* Returns how many there were. */
static int serve_pending(Ring *ring, Device *device) {
        int n = pending(ring);

        for (int i = 0; i < n; i++)
                serve_next(ring, device);
        if (n > 0) {
                ring->hot = true;
                ring->empty_wakes = 0;
        }
        return n;
}

/* --- waiting */

static uint64_t now_usec(void) {
        struct timespec now = { 0 };

        (void) clock_gettime(CLOCK_MONOTONIC, &now);
        return (uint64_t) now.tv_sec * 1000000U + (uint64_t) now.tv_nsec / 1000U;
}

/* Whether the client made a request in time. A message over the socket ends it at once. */
static bool spin(const Ring *ring) {
        const IoRingClient *client = &ring->memory->client;
        IoRingSpin spinning = { 0 };

        if (!ring->hot || ring->spin_usec == 0)
                return false;
        do {
                if (LOAD(&client->tail) != ring->head)
                        return true;
                if (LOAD(&client->messages) != ring->messages)
                        return false;
        } while (io_ring_spins_on(&spinning, ring->spin_usec, now_usec));
        return false;
}

/* Returns 1 when the socket is to be read, 0, or -EBADMSG. */
static int wait_for_client(Ring *ring, int socket) {
        struct pollfd fds[] = { { socket, POLLIN, 0 }, { ring->requests, POLLIN, 0 } };
        IoRingMemory *memory = ring->memory;
        int r;

        ring->hot = false;
        ring->messages = LOAD(&memory->client.messages);
        /* Either the request is seen here, or the client sees that it has to signal. */
        STORE(&memory->server.waits, 1);
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        r = pending(ring);
        if (r == 0 && poll(fds, ELEMENTS(fds), -1) > 0 && fds[1].revents != 0) {
                /* An error is one wake without a request more. */
                (void) read_event(ring->requests);
                r = pending(ring);
                if (r >= 0)
                        r = io_ring_woken(r, &ring->empty_wakes);
        }
        STORE(&memory->server.waits, 0);
        return r < 0 ? r : fds[0].revents != 0;
}

int ring_serve(Ring *ring, Device *device, int socket) {
        for (unsigned n = 0; n < IO_RING_BATCH;) {
                int r = serve_pending(ring, device);

                if (r < 0)
                        return r;
                n += (unsigned) r;
                if (r > 0 || spin(ring))
                        continue;
                r = wait_for_client(ring, socket);
                if (r != 0)
                        return r < 0 ? r : 0;
        }
        return 0;
}
