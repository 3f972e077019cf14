/* backend.h: one function's address spaces, with one of several methods of access.
 *
 * Owns the device's descriptor, and what it has mapped. The caller has asked policy/zpci-request.h
 * before: a back end carries out a request in one piece or fails, it never splits (but for `mmio`,
 * see there). Bytes are transferred as they are: BARs are little-endian, and so are the caller's
 * bytes. VFIO_DEVICE_GET_REGION_INFO returns the places and sizes of regions; VFIO's drivers lay
 * them out differently. */
#pragma once

#include "policy/irq-set.h"
#include "policy/zpci-request.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct IoBackend IoBackend;

/* What the daemon knows of the device and wants of its back end. */
typedef struct IoBackendOptions {
        const char *driver;         /* that the function is bound to; "" not known */
        bool emulated;              /* `device` is a memfd that stands for one */
        bool relaxed;               /* the device takes any length and alignment */
        uint16_t max_store_block;   /* no more than this, whatever the device can; 0 no limit */
        uint64_t bars[ZPCI_N_BARS]; /* of an emulated device */
} IoBackendOptions;

/* The interrupts of an emulated device: a pin, 4 MSIs, 8 MSI-X vectors, the error interrupt. */
#define EMULATED_IRQS_MAX 14U

typedef struct EmulatedIrqs {
        int fds[EMULATED_IRQS_MAX]; /* -1: nothing is assigned */
        uint32_t enabled;           /* which index is; the pin and the vectors exclude each other */
        bool masked, pending;       /* the pin */
} EmulatedIrqs;

struct IoBackend {
        const char *name;
        int device;
        ZpciTarget target;
        IrqLine irqs[VFIO_USER_N_DEVICE_IRQS];
        bool pieces; /* blocks are done in pieces */

        /* 0 or a negative errno: -EIO when the device said no, -ENODEV when it has gone. */
        int (*load)(IoBackend *backend, unsigned pcias, uint64_t offset, void *data, size_t length);
        int (*store)(IoBackend *backend, unsigned pcias, uint64_t offset, const void *data,
                     size_t length);
        /* `length` bytes, all inside configuration space. */
        int (*read_config)(IoBackend *backend, uint64_t offset, void *data, size_t length);
        int (*write_config)(IoBackend *backend, uint64_t offset, const void *data, size_t length);
        int (*reset)(IoBackend *backend); /* NULL: the device cannot be reset */
        /* An order that irq_set_check() has passed, with its booleans or its `fds`; of these it
         * replaces by -1 what it keeps. NULL: the device has no interrupts. */
        int (*set_irqs)(IoBackend *backend, const VfioUserIrqSet *set, IrqAction action,
                        const uint8_t *bools, int *fds);
        void (*unmap)(IoBackend *backend); /* NULL: has nothing mapped */

        /* The back ends' own. */
        uint64_t place[ZPCI_N_BARS]; /* where BARs are in `device` */
        uint64_t config_place;
        uint64_t region_place; /* `region`: where the zPCI I/O region is */
        uint8_t *map[ZPCI_N_BARS];
        uint64_t map_size[ZPCI_N_BARS];
        EmulatedIrqs emulated;
};

/* Looks at the device and takes the best back end that it offers: the zPCI I/O region,
 * ism-vfio-pci, the MMIO system calls, plain vfio-pci; or the emulated one where `options` say so.
 * Takes `device` over on success. Returns 0 or a negative errno: -EOPNOTSUPP when the device is
 * none of VFIO's PCI functions. */
int io_backend_open(int device, const IoBackendOptions *options, IoBackend *ret);

/* Configuration space as it is, in whatever pieces. Loads of it as PCILG does them go by `load`. */
int io_backend_read_config(IoBackend *backend, uint64_t offset, void *data, size_t length);

/* Closes the device. `load` and `store` must not be called any more. */
void io_backend_close(IoBackend *backend);

/* Each tries to serve the device whose target has been filled in from VFIO: 0, -EOPNOTSUPP when the
 * device is not for it, or another negative errno. */
int io_backend_region_probe(IoBackend *backend, const IoBackendOptions *options);
int io_backend_ism_probe(IoBackend *backend, const IoBackendOptions *options);
int io_backend_mmio_probe(IoBackend *backend, const IoBackendOptions *options);
int io_backend_vfio_probe(IoBackend *backend, const IoBackendOptions *options);
int io_backend_emulated_probe(IoBackend *backend, const IoBackendOptions *options);

/* Gives an emulated device its interrupts; they can be triggered by the client alone. */
void io_backend_emulated_irqs_init(IoBackend *backend);
void io_backend_emulated_irqs_close(IoBackend *backend);

/* What the kernel says of a VFIO device: places and sizes, the MSI-X table, the zPCI capabilities.
 * Alignment and maximum are those of plain vfio-pci after it. `ret_max_store_block` is 0 where the
 * kernel tells none. */
int io_backend_read_vfio(IoBackend *backend, bool *ret_ism, uint16_t *ret_max_store_block);

/* One pread() or pwrite() of exactly `length` bytes, as 0 or a negative errno. */
int io_backend_pread(int device, uint64_t place, void *data, size_t length);
int io_backend_pwrite(int device, uint64_t place, const void *data, size_t length);

/* `load` by pread() of the VFIO region: one instruction for each naturally aligned 1, 2, 4 or 8
 * bytes. */
int io_backend_vfio_load(IoBackend *backend, unsigned pcias, uint64_t offset, void *data,
                         size_t length);
/* `store` by pwrite(), likewise; ism-vfio-pci makes exactly one PCISTB of it. */
int io_backend_vfio_store(IoBackend *backend, unsigned pcias, uint64_t offset, const void *data,
                          size_t length);
