#include "daemon/io/memory.h"

#include "daemon/io/util.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The index of the first map that ends after `address`. */
static unsigned find(const IoMemory *memory, uint64_t address) {
        unsigned low = 0, high = memory->n_maps;

        while (low < high) {
                unsigned middle = (low + high) / 2;
                const IoMap *map = &memory->maps[middle];

                if (map->address + map->size <= address)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low;
}

/* The size of what `fd` is, 0 when it is nothing for us. fstat() of the C library is newfstatat(),
 * which takes paths and so is not in the list of system calls. */
uint64_t io_memory_file_size(int fd) {
        struct stat st;

        if (syscall(SYS_fstat, fd, &st) < 0 || st.st_size < 0)
                return 0;
        return (uint64_t) st.st_size;
}

/* Whether its opener gave `fd` for this, and no seal is against it. A read-only descriptor of
 * somebody else's memory would otherwise do to have a device write there: iommufd maps it for
 * writing without a word (seen with Linux 7.2). */
bool io_memory_is_open_for(int fd, bool reading, bool writing) {
        int flags = fcntl(fd, F_GETFL), seals = fcntl(fd, F_GET_SEALS);
        int mode = flags & O_ACCMODE;

        /* Only memory has seals, on tmpfs or as huge pages. */
        if (flags < 0 || flags & O_PATH || seals < 0)
                return false;
        if (writing && (mode == O_RDONLY || seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)))
                return false;
        return !reading || mode != O_WRONLY;
}

int io_memory_map(IoMemory *memory, uint64_t address, uint64_t size, uint64_t offset, bool readable,
                  bool writable, int fd) {
        uint64_t end, file_end, bytes;
        unsigned place;

        if (size == 0 || (address | size | offset) % IO_PAGE_SIZE != 0 ||
            __builtin_add_overflow(address, size, &end) ||
            __builtin_add_overflow(offset, size, &file_end) || (!readable && !writable))
                return -EINVAL;
        if (fd >= 0 &&
            (!io_memory_is_open_for(fd, readable, writable) || file_end > io_memory_file_size(fd)))
                return -EINVAL;

        place = find(memory, address);
        if (place < memory->n_maps && memory->maps[place].address < end)
                return -EEXIST;
        if (memory->n_maps >= memory->max_maps ||
            __builtin_add_overflow(memory->bytes, fd < 0 ? 0 : size, &bytes) ||
            bytes > memory->max_bytes)
                return -ENOSPC;

        memmove(&memory->maps[place + 1], &memory->maps[place],
                (memory->n_maps - place) * sizeof(*memory->maps));
        memory->maps[place] = (IoMap){
                .address = address,
                .size = size,
                .offset = offset,
                .fd = fd,
                .readable = readable,
                .writable = writable,
        };
        memory->n_maps++;
        memory->bytes = bytes;
        return 0;
}

/* The index of exactly this map, `n_maps` when there is none. */
static unsigned find_exact(const IoMemory *memory, uint64_t address, uint64_t size) {
        unsigned place = find(memory, address);
        const IoMap *map = &memory->maps[place];

        return place < memory->n_maps && map->address == address && map->size == size
                       ? place
                       : memory->n_maps;
}

const IoMap *io_memory_get(const IoMemory *memory, uint64_t address, uint64_t size) {
        unsigned place = find_exact(memory, address, size);

        return place < memory->n_maps ? &memory->maps[place] : NULL;
}

int io_memory_unmap(IoMemory *memory, uint64_t address, uint64_t size, int *ret_fd) {
        unsigned place = find_exact(memory, address, size);
        IoMap *map = &memory->maps[place];

        if (place == memory->n_maps)
                return -EINVAL;
        memory->bytes -= map->fd < 0 ? 0 : size;
        *ret_fd = map->fd;
        memory->n_maps--;
        memmove(map, map + 1, (memory->n_maps - place) * sizeof(*map));
        return 0;
}

void io_memory_unmap_all(IoMemory *memory, IoMemoryFds *ret) {
        ret->n = memory->n_maps;
        for (unsigned i = 0; i < memory->n_maps; i++)
                ret->fds[i] = memory->maps[i].fd;
        memory->n_maps = 0;
        memory->bytes = 0;
}

void io_memory_close(IoMemoryFds *fds) {
        for (unsigned i = 0; i < fds->n; i++)
                closep(&fds->fds[i]);
        fds->n = 0;
}

/* The map that has all of the bytes. */
static const IoMap *find_all(const IoMemory *memory, uint64_t address, size_t length) {
        unsigned place = find(memory, address);
        const IoMap *map = &memory->maps[place];
        uint64_t end;

        if (place == memory->n_maps || address < map->address ||
            __builtin_add_overflow(address, length, &end) || end > map->address + map->size)
                return NULL;
        return map;
}

int io_memory_read(const IoMemory *memory, uint64_t address, void *data, size_t length) {
        const IoMap *map = find_all(memory, address, length);

        if (!map || map->fd < 0 || !map->readable)
                return -EFAULT;
        if (pread(map->fd, data, length, (off_t) (map->offset + (address - map->address))) !=
            (ssize_t) length)
                return -EFAULT;
        return 0;
}

int io_memory_write(const IoMemory *memory, uint64_t address, const void *data, size_t length) {
        const IoMap *map = find_all(memory, address, length);
        uint64_t place;

        if (!map || map->fd < 0 || !map->writable)
                return -EFAULT;
        place = map->offset + (address - map->address);
        /* A write past the end of a file that was cut would make it longer again. */
        if (place + length > io_memory_file_size(map->fd) ||
            pwrite(map->fd, data, length, (off_t) place) != (ssize_t) length)
                return -EFAULT;
        return 0;
}
