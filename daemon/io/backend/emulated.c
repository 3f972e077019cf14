/* `emulated`: memory that stands for a device, for tests and development.
 *
 * The descriptor is a memfd: 4 KiB of configuration space, then the BARs one after the other. It
 * outlives a session where the daemon keeps it. At 0x100 of configuration space the device notes
 * what was stored last, so that it can be seen that a block came in one piece: u64 number of stores
 * so far, u64 offset, u32 address space, u32 length; then u64 number of resets. A write to
 * configuration space is stored as it is, nothing there is virtual. A reset clears the command
 * register and the BARs' content. */
#include "daemon/io/backend/backend.h"
#include "daemon/io/util.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define CONFIG_SIZE  4096U
#define NOTE         0x100U
#define EMULATED_MAX (UINT64_C(1) << 30)

typedef struct Note {
        uint64_t count;
        uint64_t offset;
        uint32_t pcias;
        uint32_t length;
        uint64_t resets;
} Note;

static uint8_t *at(IoBackend *backend, unsigned pcias, uint64_t offset) {
        uint64_t place = pcias == ZPCI_SPACE_CONFIG ? backend->config_place : backend->place[pcias];

        return backend->map[0] + place + offset;
}

static int emulated_load(IoBackend *backend, unsigned pcias, uint64_t offset, void *data,
                         size_t length) {
        memcpy(data, at(backend, pcias, offset), length);
        return 0;
}

static int emulated_read_config(IoBackend *backend, uint64_t offset, void *data, size_t length) {
        return emulated_load(backend, ZPCI_SPACE_CONFIG, offset, data, length);
}

static int emulated_store(IoBackend *backend, unsigned pcias, uint64_t offset, const void *data,
                          size_t length) {
        Note note;

        memcpy(at(backend, pcias, offset), data, length);
        memcpy(&note, at(backend, ZPCI_SPACE_CONFIG, NOTE), sizeof(note));
        note = (Note){ note.count + 1, offset, pcias, (uint32_t) length, note.resets };
        memcpy(at(backend, ZPCI_SPACE_CONFIG, NOTE), &note, sizeof(note));
        return 0;
}

static int emulated_write_config(IoBackend *backend, uint64_t offset, const void *data,
                                 size_t length) {
        memcpy(at(backend, ZPCI_SPACE_CONFIG, offset), data, length);
        return 0;
}

static int emulated_reset(IoBackend *backend) {
        Note note;

        memset(at(backend, ZPCI_SPACE_CONFIG, PCI_COMMAND), 0, sizeof(uint16_t));
        memset(backend->map[0] + CONFIG_SIZE, 0, backend->map_size[0] - CONFIG_SIZE);
        memcpy(&note, at(backend, ZPCI_SPACE_CONFIG, NOTE), sizeof(note));
        note.resets++;
        memcpy(at(backend, ZPCI_SPACE_CONFIG, NOTE), &note, sizeof(note));
        return 0;
}

static void emulated_unmap(IoBackend *backend) {
        munmap(backend->map[0], backend->map_size[0]);
        backend->map[0] = NULL;
        io_backend_emulated_irqs_close(backend);
}

int io_backend_emulated_probe(IoBackend *backend, const IoBackendOptions *options) {
        uint64_t size = CONFIG_SIZE;
        struct stat st;
        void *map;

        backend->name = "emulated";
        backend->target.config_size = CONFIG_SIZE;
        for (unsigned i = 0; i < ZPCI_N_BARS; i++) {
                backend->place[i] = size;
                backend->target.bar_size[i] = options->bars[i];
                if (__builtin_add_overflow(size, options->bars[i], &size) || size > EMULATED_MAX)
                        return -EINVAL;
        }
        backend->target.max_store_block = ZPCI_PAGE_SIZE;
        backend->target.relaxed = options->relaxed;

        /* It is the daemon's own, and sealed: it cannot be cut. */
        if (fstat(backend->device, &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode) || (uint64_t) st.st_size < size ||
            !(fcntl(backend->device, F_GET_SEALS) & F_SEAL_SHRINK))
                return -EINVAL;
        map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, backend->device, 0);
        if (map == MAP_FAILED)
                return -errno;
        backend->map[0] = map;
        backend->map_size[0] = size;
        backend->load = emulated_load;
        backend->store = emulated_store;
        backend->read_config = emulated_read_config;
        backend->write_config = emulated_write_config;
        backend->reset = emulated_reset;
        backend->unmap = emulated_unmap;
        io_backend_emulated_irqs_init(backend);
        return 0;
}
