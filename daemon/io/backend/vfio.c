/* `vfio`, plain vfio-pci: BARs are read and written with 1, 2, 4 or 8 bytes, naturally aligned,
 * each one instruction; anything else the kernel would split, so the rules refuse it
 * (`natural_loads`, `natural_stores`). And `ism`, the kernel's ism-vfio-pci: a write of 1 byte to
 * the maximum is exactly one PCISTB, reads are as above. */
#include "daemon/io/backend/backend.h"
#include "policy/vfio-driver.h"

#include <endian.h>
#include <errno.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <linux/vfio_zdev.h>
#include <string.h>
#include <sys/ioctl.h>

#define INFO_MAX 1024U

/* Of an index; they are those of linux/vfio.h. */
#define IRQ_FLAGS                                                                    \
        (VFIO_USER_IRQ_EVENTFD | VFIO_USER_IRQ_MASKABLE | VFIO_USER_IRQ_AUTOMASKED | \
         VFIO_USER_IRQ_NORESIZE)

/* ISM devices' function type, `pft` in sysfs. */
#define FUNCTION_TYPE_ISM 0x05U

static int read_config(IoBackend *backend, uint64_t offset, void *data, size_t length) {
        return io_backend_pread(backend->device, backend->config_place + offset, data, length);
}

/* The kernel virtualises what is not the user's, and writes the rest in pieces of at most 4 bytes
 * (vfio_config_do_rw()). */
static int write_config(IoBackend *backend, uint64_t offset, const void *data, size_t length) {
        return io_backend_pwrite(backend->device, backend->config_place + offset, data, length);
}

/* Somebody else may have the device's lock: -EAGAIN (pci_try_reset_function()). */
static int reset(IoBackend *backend) {
        if (ioctl(backend->device, VFIO_DEVICE_RESET) >= 0)
                return 0;
        return errno == EAGAIN || errno == ENODEV ? -errno : -EIO;
}

/* An eventfd stays the caller's: the kernel takes a reference of its own (eventfd_ctx_fdget()). */
static int vfio_set_irqs(IoBackend *backend, const VfioUserIrqSet *set, IrqAction action,
                         const uint8_t *bools, int *fds) {
        _Alignas(struct vfio_irq_set)
                uint8_t bytes[sizeof(struct vfio_irq_set) + IRQ_COUNT_MAX * sizeof(int32_t)];
        struct vfio_irq_set *order = (void *) bytes;
        size_t size = 0;
        int r;

        if (set->flags & VFIO_USER_IRQ_SET_BOOL) {
                size = set->count;
                memcpy(order->data, bools, size);
        } else if (set->flags & VFIO_USER_IRQ_SET_EVENTFD) {
                size = set->count * sizeof(int32_t);
                memset(order->data, 0xff, size); /* -1 each: none */
                if (action == IRQ_ASSIGN)
                        memcpy(order->data, fds, size);
        }
        order->argsz = (uint32_t) (sizeof(*order) + size);
        order->flags = set->flags;
        order->index = set->index;
        order->start = set->start;
        order->count = set->count;
        r = ioctl(backend->device, VFIO_DEVICE_SET_IRQS, order);
        /* The number of vectors that there would have been (vfio_msi_enable()). */
        if (r > 0)
                return -ENOSPC;
        return r == 0 ? 0 : errno == EINVAL || errno == ENODEV ? -errno : -EIO;
}

/* Of an index that the device does not have the kernel knows nothing. */
static int read_irqs(IoBackend *backend) {
        for (unsigned i = 0; i < VFIO_USER_N_DEVICE_IRQS; i++) {
                struct vfio_irq_info info = { .argsz = sizeof(info), .index = i };

                if (ioctl(backend->device, VFIO_DEVICE_GET_IRQ_INFO, &info) < 0) {
                        if (errno != EINVAL)
                                return -errno;
                        continue;
                }
                if (info.count > IRQ_COUNT_MAX)
                        return -EOPNOTSUPP;
                backend->irqs[i] = (IrqLine){ info.flags & IRQ_FLAGS, info.count };
        }
        backend->set_irqs = vfio_set_irqs;
        return 0;
}

static int read_regions(IoBackend *backend) {
        for (unsigned i = VFIO_PCI_BAR0_REGION_INDEX; i <= VFIO_PCI_CONFIG_REGION_INDEX; i++) {
                struct vfio_region_info region = { .argsz = sizeof(region), .index = i };

                if (i == VFIO_PCI_ROM_REGION_INDEX)
                        continue;
                if (ioctl(backend->device, VFIO_DEVICE_GET_REGION_INFO, &region) < 0)
                        return -errno;
                if (i == VFIO_PCI_CONFIG_REGION_INDEX) {
                        backend->config_place = region.offset;
                        backend->target.config_size =
                                region.size < UINT32_MAX ? (uint32_t) region.size : 0;
                        continue;
                }
                backend->place[i] = region.offset;
                backend->target.bar_size[i] = region.size;
        }
        return backend->target.config_size == 0 ? -EOPNOTSUPP : 0;
}

/* Finds MSI-X in the list of capabilities; only the kernel may write its table. A list that leads
 * in circles ends. */
static int read_msix(IoBackend *backend) {
        uint16_t status, control;
        uint8_t position;
        uint32_t table;
        int r;

        r = io_backend_read_config(backend, PCI_STATUS, &status, sizeof(status));
        if (r < 0 || !(le16toh(status) & PCI_STATUS_CAP_LIST))
                return r;
        r = io_backend_read_config(backend, PCI_CAPABILITY_LIST, &position, 1);
        for (unsigned steps = 0; r >= 0 && position >= PCI_STD_HEADER_SIZEOF && steps < 48;
             steps++) {
                uint8_t header[2];

                position &= 0xfc;
                r = io_backend_read_config(backend, position, header, sizeof(header));
                if (r < 0)
                        return r;
                if (header[0] != PCI_CAP_ID_MSIX) {
                        position = header[1];
                        continue;
                }
                r = io_backend_read_config(backend, position + PCI_MSIX_FLAGS, &control,
                                           sizeof(control));
                if (r >= 0)
                        r = io_backend_read_config(backend, position + PCI_MSIX_TABLE, &table,
                                                   sizeof(table));
                if (r < 0)
                        return r;
                backend->target.msix_bar = le32toh(table) & PCI_MSIX_TABLE_BIR;
                backend->target.msix_offset = le32toh(table) & PCI_MSIX_TABLE_OFFSET;
                backend->target.msix_size = (uint64_t) PCI_MSIX_ENTRY_SIZE *
                                            ((le16toh(control) & PCI_MSIX_FLAGS_QSIZE) + 1U);
                return 0;
        }
        return r;
}

static void read_capabilities(const uint8_t *info, uint32_t size, uint32_t offset, bool *ret_ism,
                              uint16_t *ret_max_store_block) {
        struct vfio_info_cap_header header;

        while (offset >= sizeof(struct vfio_device_info) && offset <= size - sizeof(header)) {
                struct vfio_device_info_cap_zpci_group group;
                struct vfio_device_info_cap_zpci_base base;

                memcpy(&header, info + offset, sizeof(header));
                if (header.id == VFIO_DEVICE_INFO_CAP_ZPCI_BASE && offset <= size - sizeof(base)) {
                        memcpy(&base, info + offset, sizeof(base));
                        *ret_ism = base.pft == FUNCTION_TYPE_ISM;
                }
                if (header.id == VFIO_DEVICE_INFO_CAP_ZPCI_GROUP &&
                    offset <= size - sizeof(group)) {
                        memcpy(&group, info + offset, sizeof(group));
                        *ret_max_store_block = header.version >= 2 ? group.imaxstbl : group.maxstbl;
                }
                if (header.next <= offset)
                        return;
                offset = header.next;
        }
}

int io_backend_read_vfio(IoBackend *backend, bool *ret_ism, uint16_t *ret_max_store_block) {
        _Alignas(struct vfio_device_info) uint8_t bytes[INFO_MAX] = { 0 };
        struct vfio_device_info *info = (void *) bytes;
        int r;

        *ret_ism = false;
        *ret_max_store_block = 0;
        info->argsz = sizeof(bytes);
        if (ioctl(backend->device, VFIO_DEVICE_GET_INFO, info) < 0)
                return errno == ENOTTY ? -EOPNOTSUPP : -errno;
        if (!(info->flags & VFIO_DEVICE_FLAGS_PCI))
                return -EOPNOTSUPP;
        if (info->flags & VFIO_DEVICE_FLAGS_CAPS && info->argsz <= sizeof(bytes))
                read_capabilities(bytes, sizeof(bytes), info->cap_offset, ret_ism,
                                  ret_max_store_block);
        backend->name = "vfio-pci";
        backend->read_config = read_config;
        backend->write_config = write_config;
        backend->reset = info->flags & VFIO_DEVICE_FLAGS_RESET ? reset : NULL;
        r = read_regions(backend);
        if (r >= 0)
                r = read_msix(backend);
        if (r >= 0)
                r = read_irqs(backend);
        if (r < 0)
                return r;
        backend->target.natural_loads = backend->target.natural_stores = true;
        backend->target.max_store_block = 8;
        backend->load = io_backend_vfio_load;
        backend->store = io_backend_vfio_store;
        return 0;
}

int io_backend_vfio_probe(IoBackend *backend, const IoBackendOptions *options) {
        uint16_t max;
        bool ism;

        return io_backend_read_vfio(backend, &ism, &max);
}

int io_backend_ism_probe(IoBackend *backend, const IoBackendOptions *options) {
        uint16_t max;
        bool ism;
        int r;

        /* No ioctl tells that a write will be one PCISTB; the driver's name does. */
        if (!vfio_driver_is_ism(options->driver))
                return -EOPNOTSUPP;
        r = io_backend_read_vfio(backend, &ism, &max);
        if (r < 0)
                return r;
        if (max == 0)
                return -EOPNOTSUPP;
        backend->name = "ism-vfio-pci";
        backend->target.max_store_block = max;
        backend->target.relaxed = true;
        return 0;
}
