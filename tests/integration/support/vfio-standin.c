/* vfio-standin.c: preloaded into vfwarden-io, it makes a memfd look like a VFIO device.
 *
 * What the device is comes from the environment, VFIO_STANDIN="WORD[=NUMBER] ...":
 *
 *   bar0 .. bar5  size of a BAR (0 unless given)
 *   region        it has the zPCI I/O region, among others, with this maximum
 *   pft, imaxstbl it has zPCI capabilities with these; version=1 leaves imaxstbl out
 *   no-reset      it cannot be reset
 *   reset-error   what a reset fails with
 *   slow          a reset, and a write to configuration space that begins with the byte 0x5a,
 *                 take until the byte at SLOW_PLACE is not 1
 *   shift         region i is at i + 1 shifted by this (14 unless given)
 *   no-pci        it is no PCI function
 *   msix          so many MSI-X vectors; besides, it has a pin, and 2 MSIs
 *   vectors       so many can be had at most
 *   error         what every pread() and pwrite() of a BAR fails with
 *   map-error     what pinning memory at and above map-error-at fails with
 *   slow-map      to pin memory takes until the byte at SLOW_PLACE is not 1
 *
 * Its container is another memfd, for which ioctls pin memory and release it. Memory that is pinned
 * for writing gets a byte of the device's, 0xda, at its beginning. A request to the region is done
 * as a kernel would; every access to the device is noted, as a line, in the file VFIO_STANDIN_LOG.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/vfio.h>
#include <linux/vfio_zdev.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define ZPCI_INDEX  (VFIO_PCI_NUM_REGIONS + 1)
#define ZPCI_TYPE   0x80001014U
#define CONFIG_SIZE 256U
/* No region begins as early. */
#define SLOW_PLACE 8

static int device = -1, container = -1, log_fd = -1;

static uint64_t setting(const char *word, uint64_t otherwise) {
        const char *text = getenv("VFIO_STANDIN");
        size_t length = strlen(word);

        for (const char *at = text; at && (at = strstr(at, word)); at += length) {
                if (at != text && at[-1] != ' ')
                        continue;
                if (at[length] == '=')
                        return strtoull(at + length + 1, NULL, 0);
                if (at[length] == ' ' || at[length] == '\0')
                        return 1;
        }
        return otherwise;
}

static uint64_t place(unsigned index) {
        return (uint64_t) (index + 1) << setting("shift", 14);
}

static void note(const char *what, off_t offset, size_t size) {
        char line[128];
        int n;

        n = snprintf(line, sizeof(line), "%s %#llx %zu\n", what, (unsigned long long) offset, size);
        if (write(log_fd, line, (size_t) n) != n)
                abort();
}

static int device_info(struct vfio_device_info *info) {
        struct vfio_device_info_cap_zpci_base base = {
                .header = { VFIO_DEVICE_INFO_CAP_ZPCI_BASE, 2, 64 + sizeof(base) },
                .pft = (uint8_t) setting("pft", 0),
        };
        struct vfio_device_info_cap_zpci_group group = {
                .header = { VFIO_DEVICE_INFO_CAP_ZPCI_GROUP, (uint16_t) setting("version", 2), 0 },
                .maxstbl = 64,
                .imaxstbl = (uint16_t) setting("imaxstbl", 0),
        };
        uint32_t argsz = info->argsz;

        info->flags = (setting("no-reset", 0) ? 0 : VFIO_DEVICE_FLAGS_RESET) |
                      (setting("no-pci", 0) ? VFIO_DEVICE_FLAGS_CCW : VFIO_DEVICE_FLAGS_PCI);
        info->num_regions = setting("region", 0) ? ZPCI_INDEX + 1 : VFIO_PCI_NUM_REGIONS;
        info->num_irqs = VFIO_PCI_NUM_IRQS;
        info->argsz = 64 + sizeof(base) + sizeof(group);
        if (setting("imaxstbl", 0) == 0 || argsz < info->argsz)
                return 0;
        info->flags |= VFIO_DEVICE_FLAGS_CAPS;
        info->cap_offset = 64;
        memcpy((uint8_t *) info + 64, &base, sizeof(base));
        memcpy((uint8_t *) info + 64 + sizeof(base), &group, sizeof(group));
        return 0;
}

static int region_info(struct vfio_region_info *info) {
        struct vfio_region_info_cap_type type = {
                .header = { VFIO_REGION_INFO_CAP_TYPE, 1, 0 },
                .type = ZPCI_TYPE,
                .subtype = info->index == ZPCI_INDEX ? 2 : 1,
        };
        char bar[] = "bar0";

        if (info->index >= VFIO_PCI_NUM_REGIONS && !setting("region", 0)) {
                errno = EINVAL;
                return -1;
        }
        info->flags = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE;
        info->offset = place(info->index);
        info->size = 0;
        if (info->index <= VFIO_PCI_BAR5_REGION_INDEX) {
                bar[3] = (char) ('0' + info->index);
                info->size = setting(bar, 0);
        } else if (info->index == VFIO_PCI_CONFIG_REGION_INDEX) {
                info->size = CONFIG_SIZE;
        } else if (info->index >= VFIO_PCI_NUM_REGIONS) {
                info->size = 48;
                info->flags |= VFIO_REGION_INFO_FLAG_CAPS;
                info->cap_offset = sizeof(*info);
                memcpy((uint8_t *) info + sizeof(*info), &type, sizeof(type));
        }
        return 0;
}

/* As long as the test wants it; no other call is allowed that could wait. */
static void be_slow(const char *word) {
        static uint32_t never;
        static const struct timespec nap = { .tv_nsec = 5000000 };
        uint8_t gate = 1;

        while (setting(word, 0) &&
               syscall(SYS_pread64, device, &gate, sizeof(gate), SLOW_PLACE) == 1 && gate == 1)
                syscall(SYS_futex, &never, FUTEX_WAIT_PRIVATE, 0, &nap, NULL, 0);
}

/* The pin, MSI, MSI-X, the error interrupt. */
static int irq_info(struct vfio_irq_info *info) {
        const uint32_t counts[] = { 1, 2, (uint32_t) setting("msix", 0), 1, 1 };

        if (info->index >= VFIO_PCI_NUM_IRQS || (info->index == 3 && setting("no-error-irq", 0))) {
                errno = EINVAL;
                return -1;
        }
        info->count = counts[info->index];
        info->flags = info->index == 0   ? 7
                      : info->index == 2 ? VFIO_IRQ_INFO_EVENTFD
                                         : VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_NORESIZE;
        return 0;
}

/* Signals each eventfd at once, by its place in the order: so it is seen which one is whose. */
static int set_irqs(const struct vfio_irq_set *set) {
        char what[64];

        snprintf(what, sizeof(what), "irqs:%u:%#x:%u:%u", set->index, set->flags, set->start,
                 set->count);
        note(what, 0, set->argsz);
        for (uint32_t i = 0; set->flags & VFIO_IRQ_SET_DATA_EVENTFD && i < set->count; i++) {
                uint64_t value = i + 1;
                int32_t fd;

                memcpy(&fd, set->data + i * sizeof(fd), sizeof(fd));
                if (fd >= 0 && write(fd, &value, sizeof(value)) != sizeof(value)) {
                        errno = EINVAL;
                        return -1;
                }
        }
        if (setting("vectors", 0) != 0 && set->start + set->count > setting("vectors", 0))
                return (int) setting("vectors", 0);
        return 0;
}

static int reset(void) {
        note("reset", 0, 0);
        be_slow("slow");
        errno = (int) setting("reset-error", 0);
        return errno == 0 ? 0 : -1;
}

/* With the flags, and so much of the address as pages have. */
static int map_dma(const struct vfio_iommu_type1_dma_map *map) {
        char what[32];

        snprintf(what, sizeof(what), "map:%u", map->flags);
        note(what, (off_t) map->iova, map->size);
        be_slow("slow-map");
        errno = map->iova >= setting("map-error-at", 0) ? (int) setting("map-error", 0) : 0;
        if (errno != 0)
                return -1;
        if (map->flags & VFIO_DMA_MAP_FLAG_WRITE)
                *(volatile uint8_t *) (uintptr_t) map->vaddr = 0xda;
        return 0;
}

static int unmap_dma(const struct vfio_iommu_type1_dma_unmap *unmap) {
        note("unmap", (off_t) unmap->iova, unmap->size);
        return 0;
}

/* The end of each is noted. */
int close(int fd) {
        static int (*next)(int);

        if (!next)
                next = (int (*)(int)) dlsym(RTLD_NEXT, "close");
        if (log_fd >= 0 && fd >= 0 && (fd == device || fd == container)) {
                note(fd == device ? "close-device" : "close-container", 0, 0);
                *(fd == device ? &device : &container) = -1;
        }
        return next(fd);
}

int ioctl(int fd, unsigned long request, ...) {
        const char *log = getenv("VFIO_STANDIN_LOG");
        va_list arguments;
        void *argument;

        va_start(arguments, request);
        argument = va_arg(arguments, void *);
        va_end(arguments);
        if (log_fd < 0 && log)
                log_fd = open(log, O_WRONLY | O_APPEND | O_CLOEXEC);
        if (request == VFIO_IOMMU_MAP_DMA || request == VFIO_IOMMU_UNMAP_DMA) {
                container = fd;
                return request == VFIO_IOMMU_MAP_DMA ? map_dma(argument) : unmap_dma(argument);
        }
        device = fd;
        if (request == VFIO_DEVICE_GET_INFO)
                return device_info(argument);
        if (request == VFIO_DEVICE_GET_REGION_INFO)
                return region_info(argument);
        if (request == VFIO_DEVICE_RESET)
                return reset();
        if (request == VFIO_DEVICE_GET_IRQ_INFO)
                return irq_info(argument);
        if (request == VFIO_DEVICE_SET_IRQS)
                return set_irqs(argument);
        errno = ENOTTY;
        return -1;
}

static bool fails(off_t offset) {
        errno = (int) setting("error", 0);
        return errno != 0 && (uint64_t) offset < place(VFIO_PCI_ROM_REGION_INDEX);
}

ssize_t pread(int fd, void *data, size_t size, off_t offset) {
        static ssize_t (*next)(int, void *, size_t, off_t);
        uint16_t header[8] = { 0 };

        if (!next)
                next = (ssize_t(*)(int, void *, size_t, off_t)) dlsym(RTLD_NEXT, "pread");
        if (fd != device)
                return next(fd, data, size, offset);
        if ((uint64_t) offset == place(ZPCI_INDEX)) {
                header[4] = (uint16_t) setting("region", 0);
                memcpy(data, header, sizeof(header));
                return (ssize_t) size;
        }
        note("pread", offset, size);
        return fails(offset) ? -1 : next(fd, data, size, offset);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) {
        static ssize_t (*next)(int, const void *, size_t, off_t);
        struct {
                uint64_t flags, gaddr, offset;
                uint32_t reserved;
                uint16_t length;
                uint8_t pcias, reserved2;
        } request;
        void *guest;

        if (!next)
                next = (ssize_t(*)(int, const void *, size_t, off_t)) dlsym(RTLD_NEXT, "pwrite");
        if (fd != device)
                return next(fd, data, size, offset);
        note("pwrite", offset, size);
        if ((uint64_t) offset >= place(VFIO_PCI_CONFIG_REGION_INDEX) &&
            (uint64_t) offset < place(VFIO_PCI_CONFIG_REGION_INDEX) + CONFIG_SIZE &&
            *(const uint8_t *) data == 0x5a)
                be_slow("slow");
        if (fails(offset))
                return -1;
        if ((uint64_t) offset != place(ZPCI_INDEX) + 16)
                return next(fd, data, size, offset);

        memcpy(&request, data, sizeof(request));
        guest = (void *) (uintptr_t) request.gaddr;
        offset =
                (off_t) (place(request.pcias == 15 ? VFIO_PCI_CONFIG_REGION_INDEX : request.pcias) +
                         request.offset);
        note(request.flags == 1 ? "pcilg" : "pcistb", offset, request.length);
        if ((request.flags == 1 ? pread(fd, guest, request.length, offset)
                                : next(fd, guest, request.length, offset)) != request.length)
                return -1;
        return (ssize_t) size;
}
