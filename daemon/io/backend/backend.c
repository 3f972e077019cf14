#include "daemon/io/backend/backend.h"

#include "daemon/io/util.h"

#include <errno.h>
#include <unistd.h>

int io_backend_open(int device, const IoBackendOptions *options, IoBackend *ret) {
        /* Best first: a whole block in one instruction, then longer stores than 8 bytes, then what
         * is left. */
        static int (*const probes[])(IoBackend *, const IoBackendOptions *) = {
                io_backend_region_probe,
                io_backend_ism_probe,
                io_backend_mmio_probe,
                io_backend_vfio_probe,
        };
        IoBackend backend = { .device = device };
        int r = -EOPNOTSUPP;

        if (options->emulated) {
                r = io_backend_emulated_probe(&backend, options);
        } else {
                for (size_t i = 0; r == -EOPNOTSUPP && i < ELEMENTS(probes); i++) {
                        backend = (IoBackend){ .device = device };
                        r = probes[i](&backend, options);
                }
        }
        if (r < 0)
                return r;
        if (backend.target.max_store_block > ZPCI_PAGE_SIZE)
                backend.target.max_store_block = ZPCI_PAGE_SIZE;
        if (options->max_store_block != 0 &&
            backend.target.max_store_block > options->max_store_block)
                backend.target.max_store_block = options->max_store_block;
        *ret = backend;
        return 0;
}

int io_backend_read_config(IoBackend *backend, uint64_t offset, void *data, size_t length) {
        uint64_t end;

        if (__builtin_add_overflow(offset, length, &end) || end > backend->target.config_size)
                return -EINVAL;
        return backend->read_config(backend, offset, data, length);
}

void io_backend_close(IoBackend *backend) {
        if (backend->unmap)
                backend->unmap(backend);
        backend->unmap = NULL;
        closep(&backend->device);
}

/* VFIO says EIO for what the device refused, ENXIO for an exception, and less than asked at the end
 * of a region, which the rules have excluded. */
static int whole(ssize_t done, size_t length) {
        if (done < 0)
                return errno == ENODEV || errno == EFAULT ? -errno : -EIO;
        return (size_t) done == length ? 0 : -EIO;
}

int io_backend_pread(int device, uint64_t place, void *data, size_t length) {
        return whole(pread(device, data, length, (off_t) place), length);
}

int io_backend_pwrite(int device, uint64_t place, const void *data, size_t length) {
        return whole(pwrite(device, data, length, (off_t) place), length);
}

int io_backend_vfio_load(IoBackend *backend, unsigned pcias, uint64_t offset, void *data,
                         size_t length) {
        uint64_t place = pcias == ZPCI_SPACE_CONFIG ? backend->config_place : backend->place[pcias];

        return io_backend_pread(backend->device, place + offset, data, length);
}

int io_backend_vfio_store(IoBackend *backend, unsigned pcias, uint64_t offset, const void *data,
                          size_t length) {
        return io_backend_pwrite(backend->device, backend->place[pcias] + offset, data, length);
}
