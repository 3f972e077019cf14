/* dma.h: the device's own accesses to the client's memory, by VFIO's type 1 container.
 *
 * Owns the container. The kernel pins the pages of a map, and gives the device no others: an
 * address outside of all maps is a fault of the IOMMU. Always holds: the client's memory is mapped
 * into this process only while the kernel pins it, and never touched. Type 1 remembers pages and
 * not where they were mapped (vfio_unmap_unpin()). So a file that is truncated raises no SIGBUS;
 * its pages stay until the map is removed.
 *
 * The container exists as long as the device's descriptor does (vfio_group_use_container()).
 * Whatever ends this process, the kernel therefore switches bus master off
 * (vfio_pci_core_disable()) before it gives memory back. The client's thread maps and unmaps; the
 * daemon's orders end it. */
#pragma once

#include "daemon/io/memory.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

typedef enum DmaKind {
        DMA_NONE,     /* the device accesses no memory */
        DMA_EMULATED, /* no device is there to do so: memory is looked at as for type 1 */
        DMA_TYPE1,
} DmaKind;

typedef struct Dma {
        pthread_mutex_t lock; /* of what follows; not held while the kernel pins or unpins */
        pthread_cond_t idle;  /* `busy` is false again */
        DmaKind kind;
        int container; /* -1 without type 1, and after the end */
        bool busy;     /* the client's thread uses the container */
        bool stopped;  /* it begins nothing any more */
} Dma;

/* Takes `container` over. */
void dma_init(Dma *dma, DmaKind kind, int container);

static inline bool dma_allowed(const Dma *dma) {
        return dma->kind != DMA_NONE;
}

/* Lets the device access a map with a descriptor. Large ones are pinned piece by piece, so that the
 * end has to wait for one piece at most. Returns 0, also without DMA, or a negative errno, with
 * nothing mapped: -EINVAL for an address that the IOMMU does not translate, or memory that cannot
 * be mapped as the client says; -ENOSPC for more than may be pinned; -EFAULT for memory that is not
 * there; -ENODEV after dma_stop(); -EIO. */
int dma_map(Dma *dma, const IoMap *map);

/* Takes a map away from the device. When it returns 0, no page of it is pinned. Else -ENODEV or
 * -EIO: the map is as it was. */
int dma_unmap(Dma *dma, uint64_t address, uint64_t size);

/* From now on no piece is pinned; does not wait. */
void dma_stop(Dma *dma);

/* After the device is closed: closes the container. When it returns, no page is pinned. Waits for
 * the one piece that is being pinned. */
void dma_close(Dma *dma);
