/* bpf-ring.h: reads a BPF ring buffer (Documentation/bpf/ringbuf.rst).
 *
 * Owns the descriptor of the map and its two mappings. There is one reader. */
#pragma once

#include <stddef.h>
#include <systemd/sd-event.h>

typedef struct BpfRing BpfRing;

/* A record, valid until this returns. It is a multiple of eight bytes away from page's end. */
typedef void BpfRingHandler(void *context, const void *data, size_t size);

/* Reads the ring `*map` of `size` bytes, and takes the descriptor over on success. `handler` is
 * called from the event loop. Returns 0 or a negative errno. */
int bpf_ring_new(sd_event *event, int *map, size_t size, BpfRingHandler *handler, void *context,
                 BpfRing **ret);

/* Hands over the records that are there already, as the event loop would later. */
void bpf_ring_read(BpfRing *ring);

BpfRing *bpf_ring_free(BpfRing *ring);
