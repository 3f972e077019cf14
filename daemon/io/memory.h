/* memory.h: the client's memory that a session may read and write, as the client mapped it by
 * DMA_MAP.
 *
 * Owns the descriptors. Nothing is ever mapped here: memory is read by pread() and written by
 * pwrite(). So a file that is truncated during a request gives an error and no SIGBUS, and needs no
 * seal. Reading untouched pages allocates none, and the address space stays as small as it is. Only
 * memfds are accepted, and files of tmpfs: a file of another file system could make a read wait for
 * as long as its server likes.
 *
 * All in one fixed table, no allocation. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IO_MAPS_MAX  512U
#define IO_PAGE_SIZE 4096U

typedef struct IoMap {
        uint64_t address, size, offset;
        int fd;
        bool readable, writable;
} IoMap;

typedef struct IoMemory {
        IoMap maps[IO_MAPS_MAX]; /* by address */
        unsigned n_maps;
        unsigned max_maps;  /* at most IO_MAPS_MAX */
        uint64_t max_bytes; /* of all maps together */
        uint64_t bytes;
} IoMemory;

/* Takes `fd` over on success; -1 is memory that can only be asked for by messages, which are not
 * sent: it is known, and every access fails. Returns 0 or -EINVAL: not whole pages, nothing, wraps
 * around, neither readable nor writable, not the memory of a memfd, not open for what is asked,
 * sealed against it, or not all there; -EEXIST: overlaps another; -ENOSPC: too many, or too
 * much. */
int io_memory_map(IoMemory *memory, uint64_t address, uint64_t size, uint64_t offset, bool readable,
                  bool writable, int fd);

/* The map of exactly this address and size, NULL when there is none. Valid until the next change.
 */
const IoMap *io_memory_get(const IoMemory *memory, uint64_t address, uint64_t size);

/* Descriptors that are no map's any more. To close the last one of a large file takes long. */
typedef struct IoMemoryFds {
        int fds[IO_MAPS_MAX];
        unsigned n;
} IoMemoryFds;

/* Ends exactly one map: 0 with its descriptor, which is the caller's to close, -1 for none; or
 * -EINVAL when there is none of that address and size. */
int io_memory_unmap(IoMemory *memory, uint64_t address, uint64_t size, int *ret_fd);

/* Ends all maps; `ret` has their descriptors, the caller's to close. */
void io_memory_unmap_all(IoMemory *memory, IoMemoryFds *ret);
void io_memory_close(IoMemoryFds *fds);

/* Reads or writes bytes that are all in one map, once. Returns 0 or -EFAULT. */
int io_memory_read(const IoMemory *memory, uint64_t address, void *data, size_t length);
int io_memory_write(const IoMemory *memory, uint64_t address, const void *data, size_t length);

/* Whether its opener gave `fd`, which is memory, for this, and no seal is against it. */
bool io_memory_is_open_for(int fd, bool reading, bool writing);

/* In bytes; 0 for what is nothing for us. */
uint64_t io_memory_file_size(int fd);
