#include "daemon/io/dma.h"

#include "daemon/io/util.h"

#include <errno.h>
#include <linux/vfio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* To pin so much takes some 20 ms if all of it has to be cleared. A multiple of every huge page
 * that an IOMMU may use but the largest. */
#define PIECE_SIZE (UINT64_C(64) << 20)

void dma_init(Dma *dma, DmaKind kind, int container) {
        pthread_mutex_init(&dma->lock, NULL);
        pthread_cond_init(&dma->idle, NULL);
        dma->kind = kind;
        dma->container = container;
        dma->busy = dma->stopped = false;
}

/* As long as it is busy, the number of the container belongs to nothing else. */
static int dma_begin(Dma *dma) {
        int r;

        pthread_mutex_lock(&dma->lock);
        r = dma->stopped ? -ENODEV : 0;
        dma->busy = r >= 0;
        pthread_mutex_unlock(&dma->lock);
        return r;
}

static void dma_finish(Dma *dma) {
        pthread_mutex_lock(&dma->lock);
        dma->busy = false;
        pthread_cond_broadcast(&dma->idle);
        pthread_mutex_unlock(&dma->lock);
}

static bool is_stopped(Dma *dma) {
        bool stopped;

        pthread_mutex_lock(&dma->lock);
        stopped = dma->stopped;
        pthread_mutex_unlock(&dma->lock);
        return stopped;
}

/* ENOMEM comes from RLIMIT_MEMLOCK, too; EFAULT from memory past the end of a file that was
 * truncated (vfio_pin_pages_remote()). */
static int map_error(int error) {
        switch (error) {
        case EINVAL:
        case EFAULT:
        case ENOSPC:
                return -error;
        case ENOMEM:
                return -ENOSPC;
        default:
                return -EIO;
        }
}

static int pin(const Dma *dma, const IoMap *map, uint64_t begin, uint64_t end,
               const uint8_t *memory) {
        struct vfio_iommu_type1_dma_map order = {
                .argsz = sizeof(order),
                .flags = (map->readable ? VFIO_DMA_MAP_FLAG_READ : 0U) |
                         (map->writable ? VFIO_DMA_MAP_FLAG_WRITE : 0U),
                .vaddr = (uint64_t) (uintptr_t) (memory + (begin - map->address)),
                .iova = begin,
                .size = end - begin,
        };

        return ioctl(dma->container, VFIO_IOMMU_MAP_DMA, &order) < 0 ? map_error(errno) : 0;
}

/* The kernel removes all maps in the range, which are the pieces of one of the client's
 * (vfio_dma_do_unmap()). */
static int unpin(const Dma *dma, uint64_t address, uint64_t size) {
        struct vfio_iommu_type1_dma_unmap order = {
                .argsz = sizeof(order),
                .iova = address,
                .size = size,
        };

        return ioctl(dma->container, VFIO_IOMMU_UNMAP_DMA, &order) < 0 || order.size != size ? -EIO
                                                                                             : 0;
}

static int pin_pieces(Dma *dma, const IoMap *map, const uint8_t *memory) {
        uint64_t end = map->address + map->size, next;
        int r = 0;

        for (uint64_t at = map->address; at < end; at = next) {
                next = (at | (PIECE_SIZE - 1)) + 1;
                if (next == 0 || next > end)
                        next = end;
                r = is_stopped(dma) ? -ENODEV : pin(dma, map, at, next, memory);
                if (r >= 0)
                        continue;
                if (at > map->address)
                        (void) unpin(dma, map->address, at - map->address);
                return r;
        }
        return r;
}

/* Memory on huge pages was mapped in whole ones, and cannot be unmapped in part
 * (hugetlb_vm_op_split()). */
static void unmap_memory(const IoMap *map, void *memory) {
        struct stat st;
        uint64_t page;

        if (munmap(memory, map->size) >= 0 || syscall(SYS_fstat, map->fd, &st) < 0)
                return;
        page = (uint64_t) st.st_blksize;
        (void) munmap(memory, (map->size + page - 1) / page * page);
}

/* The kernel refuses to map what the descriptor was not opened for, or what a seal forbids. Huge
 * pages are not reserved: the file is the client's. */
static int map_memory(Dma *dma, const IoMap *map) {
        int access = map->writable ? PROT_READ | PROT_WRITE : PROT_READ, r = 0;
        void *memory = mmap(NULL, map->size, access, MAP_SHARED | MAP_NORESERVE, map->fd,
                            (off_t) map->offset);

        if (memory == MAP_FAILED)
                return errno == ENOMEM ? -ENOSPC : -EINVAL;
        if (dma->kind == DMA_TYPE1)
                r = pin_pieces(dma, map, memory);
        unmap_memory(map, memory);
        return r;
}

int dma_map(Dma *dma, const IoMap *map) {
        int r;

        if (!dma_allowed(dma) || map->fd < 0)
                return 0;
        r = dma_begin(dma);
        if (r < 0)
                return r;
        r = map_memory(dma, map);
        dma_finish(dma);
        return r;
}

int dma_unmap(Dma *dma, uint64_t address, uint64_t size) {
        int r;

        if (dma->kind != DMA_TYPE1)
                return 0;
        r = dma_begin(dma);
        if (r < 0)
                return r;
        r = unpin(dma, address, size);
        dma_finish(dma);
        return r;
}

void dma_stop(Dma *dma) {
        pthread_mutex_lock(&dma->lock);
        dma->stopped = true;
        pthread_mutex_unlock(&dma->lock);
}

void dma_close(Dma *dma) {
        int container;

        pthread_mutex_lock(&dma->lock);
        while (dma->busy)
                pthread_cond_wait(&dma->idle, &dma->lock);
        /* The other thread that ends the session waits for the close, too: the close unpins. */
        dma->busy = true;
        container = take_fd(&dma->container);
        pthread_mutex_unlock(&dma->lock);
        closep(&container);
        dma_finish(dma);
}
