#include "daemon/guard/bpf-ring.h"

#include "daemon/base/util.h"

#include <errno.h>
#include <glib.h>
#include <linux/bpf.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

/* How many records one call takes: the rest comes in the next turn of the loop. */
#define TURN_MAX 256

struct BpfRing {
        int map;
        size_t size, page;
        uint64_t *consumer; /* a page */
        uint64_t *producer; /* a page, and the data twice: no record is in two pieces */
        const uint8_t *data;
        sd_event_source *source;
        BpfRingHandler *handler;
        void *context;
};

/* The next record's header, or NULL: there is none, or it is being written. */
static const uint32_t *next_header(const BpfRing *ring, uint64_t position) {
        const uint32_t *header;

        if (position >= __atomic_load_n(ring->producer, __ATOMIC_ACQUIRE))
                return NULL;
        header = (const uint32_t *) (const void *) (ring->data + (position & (ring->size - 1)));
        return __atomic_load_n(header, __ATOMIC_ACQUIRE) & BPF_RINGBUF_BUSY_BIT ? NULL : header;
}

void bpf_ring_read(BpfRing *ring) {
        uint64_t position = *ring->consumer;

        for (unsigned i = 0; i < TURN_MAX; i++) {
                const uint32_t *header = next_header(ring, position);
                uint32_t length;

                if (!header)
                        break;
                length = *header & ~(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT);
                if (!(*header & BPF_RINGBUF_DISCARD_BIT))
                        ring->handler(ring->context, (const uint8_t *) header + BPF_RINGBUF_HDR_SZ,
                                      length);
                position += (length + BPF_RINGBUF_HDR_SZ + 7U) & ~7ULL;
                __atomic_store_n(ring->consumer, position, __ATOMIC_RELEASE);
        }
}

static int on_readable(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        bpf_ring_read(userdata);
        return 0;
}

int bpf_ring_new(sd_event *event, int *map, size_t size, BpfRingHandler *handler, void *context,
                 BpfRing **ret) {
        BpfRing *ring = g_new0(BpfRing, 1);
        int r;

        ring->map = -1;
        ring->size = size;
        ring->page = (size_t) sysconf(_SC_PAGESIZE);
        ring->handler = handler;
        ring->context = context;
        ring->consumer = mmap(NULL, ring->page, PROT_READ | PROT_WRITE, MAP_SHARED, *map, 0);
        ring->producer =
                mmap(NULL, ring->page + 2 * size, PROT_READ, MAP_SHARED, *map, (off_t) ring->page);
        r = ring->consumer == MAP_FAILED || ring->producer == MAP_FAILED ? -errno : 0;
        if (r >= 0) {
                ring->data = (const uint8_t *) ring->producer + ring->page;
                r = sd_event_add_io(event, &ring->source, *map, EPOLLIN, on_readable, ring);
        }
        if (r < 0) {
                bpf_ring_free(ring);
                return r;
        }
        (void) sd_event_source_set_description(ring->source, "bpf-ring");
        ring->map = take_fd(map);
        *ret = ring;
        return 0;
}

BpfRing *bpf_ring_free(BpfRing *ring) {
        if (!ring)
                return NULL;
        sd_event_source_disable_unref(ring->source);
        if (ring->consumer != MAP_FAILED)
                (void) munmap(ring->consumer, ring->page);
        if (ring->producer != MAP_FAILED)
                (void) munmap(ring->producer, ring->page + 2 * ring->size);
        closep(&ring->map);
        g_free(ring);
        return NULL;
}
