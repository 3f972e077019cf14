/* device.h: the device of a session: one access at a time, and the end.
 *
 * Owns the back end. The client's thread makes the accesses; the daemon's orders end them. Always
 * holds: the lock is not held during an access, so an order finds at most one of them half done,
 * and only the end waits for that. No access begins after the end. Allocates nothing.
 *
 * A reset, and a write to configuration space, which may be one (vfio_exp_config_write()), takes as
 * long as the device likes: up to a minute (pci_dev_wait()). A client may give its server up
 * before; QEMU does so after five seconds. So such a slow access is made by a thread of its own,
 * and has its answer in DEVICE_PATIENCE_SECONDS, if need be a refusal. Until the device has really
 * done it, every other access is refused with -EBUSY, for it would wait for the same lock in the
 * kernel. */
#pragma once

#include "daemon/io/backend/backend.h"
#include "policy/io-report.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>

/* With room for what a message has to wait for on its way. */
#define DEVICE_PATIENCE_SECONDS 4

/* A configuration space is not longer. */
#define DEVICE_CONFIG_MAX 4096U

typedef enum SlowKind {
        SLOW_RESET,
        SLOW_WRITE_CONFIG,
} SlowKind;

/* The slow access; the client's thread fills it in while the device is idle. */
typedef struct SlowAccess {
        sem_t wanted;
        pthread_cond_t done_changed;
        bool has_thread, done;
        int result;
        SlowKind kind;
        uint64_t offset;
        size_t length;
        uint8_t data[DEVICE_CONFIG_MAX];
} SlowAccess;

typedef struct Device {
        pthread_mutex_t lock; /* of what follows, but for the back end of an access that is made */
        pthread_cond_t idle;  /* `busy` is false again, or `closed` is true */
        IoBackend backend;
        bool dma;              /* the client may let the device master the bus */
        bool busy;             /* an access is made */
        bool ended;            /* none begins any more */
        unsigned irqs_enabled; /* a bit for each index; the client's thread's */
        bool closed;           /* after the end, when no access was made any more */
        uint64_t loads, stores, bytes_loaded, bytes_stored; /* that the device did */
        SlowAccess slow;
} Device;

/* `backend` is taken over. `dma`: the device may access the client's memory, so the client has the
 * bit that lets it do so. */
void device_init(Device *device, const IoBackend *backend, bool dma);

/* Starts the thread for slow accesses; without one their caller makes them. Returns 0 or a negative
 * errno. */
int device_start(Device *device);

/* What the client may ask for, and the facts: they do not change, so no lock is taken. */
static inline const ZpciTarget *device_target(const Device *device) {
        return &device->backend.target;
}
static inline bool device_can_reset(const Device *device) {
        return device->backend.reset;
}

static inline const IrqLine *device_irq_line(const Device *device, uint32_t index) {
        return &device->backend.irqs[index];
}

/* Accesses that the rules have allowed. Each returns 0 or a negative errno: -ENODEV after the end,
 * -EBUSY during a slow access, -ETIMEDOUT when a slow one goes on after its answer, or the back
 * end's. */
int device_load(Device *device, unsigned pcias, uint64_t offset, void *data, size_t length);
int device_store(Device *device, unsigned pcias, uint64_t offset, const void *data, size_t length);
int device_read_config(Device *device, uint64_t offset, void *data, size_t length);
/* Without the bits that a session must not set; slow. */
int device_write_config(Device *device, uint64_t offset, const void *data, size_t length);
/* -EOPNOTSUPP when the device cannot; slow. */
int device_reset(Device *device);

/* An order that irq_set_check() has passed. Of `fds` it replaces by -1 what it keeps. To disable
 * what is not enabled has no effect; VFIO would refuse it. */
int device_set_irqs(Device *device, const VfioUserIrqSet *set, IrqAction action,
                    const uint8_t *bools, int *fds);

/* Waits for the access that is made. When it returns the device is closed. Returns whether this
 * call did it. */
bool device_end(Device *device);

void device_report(Device *device, IoReport *ret);
