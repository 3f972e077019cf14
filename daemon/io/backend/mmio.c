/* `mmio`: the system calls s390_pci_mmio_read() and s390_pci_mmio_write() on a BAR that vfio-pci
 * lets map. The kernel turns a write into store blocks as long as the machine takes them; where it
 * ends one and begins the next is its affair, so a block may be done in pieces. A call stays inside
 * one page. On s390 only. */
#include "daemon/io/backend/backend.h"

#include <errno.h>

#ifdef __s390x__

#include "daemon/io/util.h"

#include <linux/vfio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

/* ZPCI_MAX_WRITE_SIZE: how long the kernel's own blocks get. */
#define BLOCK_MAX 128U

/* 0 is success; where the machine has MIO instructions, a condition code that is not 0 is returned
 * as it is. */
static int result(long returned) {
        if (returned == 0)
                return 0;
        return returned < 0 && errno == ENODEV ? -ENODEV : -EIO;
}

static int mmio_load(IoBackend *backend, unsigned pcias, uint64_t offset, void *data,
                     size_t length) {
        if (pcias == ZPCI_SPACE_CONFIG || !backend->map[pcias])
                return io_backend_vfio_load(backend, pcias, offset, data, length);
        return result(syscall(__NR_s390_pci_mmio_read,
                              (unsigned long) (backend->map[pcias] + offset), data, length));
}

static int mmio_store(IoBackend *backend, unsigned pcias, uint64_t offset, const void *data,
                      size_t length) {
        _Alignas(8) uint8_t block[BLOCK_MAX];

        if (!backend->map[pcias])
                return length <= 8 ? io_backend_vfio_store(backend, pcias, offset, data, length)
                                   : -EIO;
        if (length > sizeof(block))
                return -EIO;
        /* Of data that is not aligned the kernel makes pieces of 8 bytes:
         * zpci_get_max_io_size(). */
        memcpy(block, data, length);
        return result(syscall(__NR_s390_pci_mmio_write,
                              (unsigned long) (backend->map[pcias] + offset), block, length));
}

static void mmio_unmap(IoBackend *backend) {
        for (unsigned i = 0; i < ZPCI_N_BARS; i++)
                if (backend->map[i]) {
                        munmap(backend->map[i], backend->map_size[i]);
                        backend->map[i] = NULL;
                }
}

/* Whether this process may make the calls: systemd's @raw-io has them, which PrivateDevices=
 * refuses. The length is looked at before the device is, so nothing is read. */
static bool mmio_allowed(const IoBackend *backend, unsigned bar) {
        uint8_t nothing;

        return syscall(__NR_s390_pci_mmio_read, (unsigned long) backend->map[bar], &nothing, 0UL) >=
                       0 ||
               errno == EINVAL;
}

int io_backend_mmio_probe(IoBackend *backend, const IoBackendOptions *options) {
        bool ism, any = false;
        uint16_t max;
        int r;

        r = io_backend_read_vfio(backend, &ism, &max);
        if (r < 0)
                return r;
        for (unsigned i = 0; i < ZPCI_N_BARS; i++) {
                struct vfio_region_info region = { .argsz = sizeof(region), .index = i };
                void *map;

                /* One with an MSI-X table is mapped as well; the rules keep the table out. */
                if (ioctl(backend->device, VFIO_DEVICE_GET_REGION_INFO, &region) < 0 ||
                    region.size == 0 || !(region.flags & VFIO_REGION_INFO_FLAG_MMAP))
                        continue;
                map = mmap(NULL, region.size, PROT_READ | PROT_WRITE, MAP_SHARED, backend->device,
                           (off_t) region.offset);
                if (map == MAP_FAILED)
                        continue;
                backend->map[i] = map;
                backend->map_size[i] = region.size;
                any = mmio_allowed(backend, i);
                if (!any)
                        break;
        }
        if (!any) {
                mmio_unmap(backend);
                return -EOPNOTSUPP;
        }
        backend->name = "mmio";
        backend->pieces = true;
        backend->target.max_store_block = max != 0 && max < BLOCK_MAX ? max : BLOCK_MAX;
        backend->load = mmio_load;
        backend->store = mmio_store;
        backend->unmap = mmio_unmap;
        return 0;
}

#else

int io_backend_mmio_probe(IoBackend *backend, const IoBackendOptions *options) {
        return -EOPNOTSUPP;
}

#endif
