#include "daemon/io/device.h"

#include "daemon/io/thread.h"
#include "policy/config-write.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

void device_init(Device *device, const IoBackend *backend, bool dma) {
        memset(device, 0, sizeof(*device));
        device->backend = *backend;
        device->dma = dma;
        pthread_mutex_init(&device->lock, NULL);
        pthread_cond_init(&device->idle, NULL);
        pthread_cond_init(&device->slow.done_changed, NULL);
        sem_init(&device->slow.wanted, 0, 0);
}

static int begin(Device *device) {
        int r = 0;

        pthread_mutex_lock(&device->lock);
        if (device->ended)
                r = -ENODEV;
        else if (device->busy)
                r = -EBUSY;
        else
                device->busy = true;
        pthread_mutex_unlock(&device->lock);
        return r;
}

/* The thread that waits for the device to be idle closes it. With the lock held. */
static void make_idle(Device *device) {
        device->busy = false;
        pthread_cond_broadcast(&device->idle);
}

static void end(Device *device, uint64_t *counter, uint64_t *bytes, size_t length) {
        pthread_mutex_lock(&device->lock);
        if (counter) {
                ++*counter;
                *bytes += length;
        }
        make_idle(device);
        pthread_mutex_unlock(&device->lock);
}

int device_load(Device *device, unsigned pcias, uint64_t offset, void *data, size_t length) {
        int r = begin(device);

        if (r < 0)
                return r;
        r = device->backend.load(&device->backend, pcias, offset, data, length);
        end(device, r < 0 ? NULL : &device->loads, &device->bytes_loaded, length);
        return r;
}

int device_store(Device *device, unsigned pcias, uint64_t offset, const void *data, size_t length) {
        int r = begin(device);

        if (r < 0)
                return r;
        r = device->backend.store(&device->backend, pcias, offset, data, length);
        end(device, r < 0 ? NULL : &device->stores, &device->bytes_stored, length);
        return r;
}

int device_read_config(Device *device, uint64_t offset, void *data, size_t length) {
        int r = begin(device);

        if (r < 0)
                return r;
        r = io_backend_read_config(&device->backend, offset, data, length);
        end(device, NULL, NULL, 0);
        return r;
}

/* Which indexes are enabled, as the kernel has it (vfio_pci_set_irqs_ioctl()). An order without
 * eventfds enables the vectors, too, but not the error interrupt. */
static void note_irqs(Device *device, const VfioUserIrqSet *set, IrqAction action) {
        unsigned bit = 1U << set->index;

        if (action == IRQ_DISABLE || (action == IRQ_RELEASE && set->index == VFIO_USER_IRQ_ERR))
                device->irqs_enabled &= ~bit;
        else if (action == IRQ_ASSIGN || action == IRQ_RELEASE)
                device->irqs_enabled |= bit;
}

int device_set_irqs(Device *device, const VfioUserIrqSet *set, IrqAction action,
                    const uint8_t *bools, int *fds) {
        bool is_off = action == IRQ_DISABLE && !(device->irqs_enabled & 1U << set->index);
        int r = device->backend.set_irqs || is_off ? begin(device) : -EINVAL;

        if (r < 0)
                return r;
        if (!is_off)
                r = device->backend.set_irqs(&device->backend, set, action, bools, fds);
        if (r >= 0)
                note_irqs(device, set, action);
        end(device, NULL, NULL, 0);
        return r;
}

/* --- slow accesses */

static void do_slow(Device *device) {
        SlowAccess *slow = &device->slow;
        IoBackend *backend = &device->backend;
        int r = slow->kind == SLOW_RESET
                        ? backend->reset(backend)
                        : backend->write_config(backend, slow->offset, slow->data, slow->length);

        pthread_mutex_lock(&device->lock);
        slow->result = r;
        slow->done = true;
        pthread_cond_signal(&slow->done_changed);
        make_idle(device);
        pthread_mutex_unlock(&device->lock);
}

static void make_slow_ones(void *context) {
        Device *device = context;

        for (;;)
                if (sem_wait(&device->slow.wanted) >= 0)
                        do_slow(device);
}

int device_start(Device *device) {
        int r = thread_start(make_slow_ones, device);

        if (r >= 0)
                device->slow.has_thread = true;
        return r;
}

static int wait_for_slow(Device *device) {
        SlowAccess *slow = &device->slow;
        struct timespec until;
        int r = 0;

        if (clock_gettime(CLOCK_MONOTONIC, &until) < 0)
                return -errno;
        until.tv_sec += DEVICE_PATIENCE_SECONDS;
        pthread_mutex_lock(&device->lock);
        while (!slow->done && r != ETIMEDOUT)
                r = pthread_cond_clockwait(&slow->done_changed, &device->lock, CLOCK_MONOTONIC,
                                           &until);
        r = slow->done ? slow->result : -ETIMEDOUT;
        pthread_mutex_unlock(&device->lock);
        return r;
}

/* The device was made busy, and is idle again when the access is made. */
static int make_slow(Device *device) {
        SlowAccess *slow = &device->slow;

        slow->done = false;
        if (!slow->has_thread) {
                do_slow(device);
                return slow->result;
        }
        sem_post(&slow->wanted);
        return wait_for_slow(device);
}

int device_write_config(Device *device, uint64_t offset, const void *data, size_t length) {
        SlowAccess *slow = &device->slow;
        int r = config_write_check(device->backend.target.config_size, offset, length);

        if (r >= 0 && length > sizeof(slow->data))
                r = -EINVAL;
        if (r >= 0 && !device->backend.write_config)
                r = -EPERM;
        if (r >= 0)
                r = begin(device);
        if (r < 0)
                return r;
        slow->kind = SLOW_WRITE_CONFIG;
        slow->offset = offset;
        slow->length = length;
        memcpy(slow->data, data, length);
        config_write_mask(offset, slow->data, length, device->dma);
        return make_slow(device);
}

int device_reset(Device *device) {
        int r = device_can_reset(device) ? begin(device) : -EOPNOTSUPP;

        if (r < 0)
                return r;
        device->slow.kind = SLOW_RESET;
        return make_slow(device);
}

/* --- the end */

bool device_end(Device *device) {
        bool first;

        pthread_mutex_lock(&device->lock);
        first = !device->ended;
        device->ended = true;
        while (device->busy || (!first && !device->closed))
                pthread_cond_wait(&device->idle, &device->lock);
        pthread_mutex_unlock(&device->lock);
        if (!first)
                return false;

        /* No access can begin; the close resets the device, which takes its time. */
        io_backend_close(&device->backend);
        pthread_mutex_lock(&device->lock);
        device->closed = true;
        pthread_cond_broadcast(&device->idle);
        pthread_mutex_unlock(&device->lock);
        return true;
}

void device_report(Device *device, IoReport *ret) {
        const IoBackend *backend = &device->backend;

        pthread_mutex_lock(&device->lock);
        ret->counts.loads = device->loads;
        ret->counts.stores = device->stores;
        ret->counts.bytes_loaded = device->bytes_loaded;
        ret->counts.bytes_stored = device->bytes_stored;
        snprintf(ret->backend, sizeof(ret->backend), "%s", backend->name);
        memcpy(ret->bar_size, backend->target.bar_size, sizeof(ret->bar_size));
        ret->max_store_block = backend->target.max_store_block;
        ret->relaxed = backend->target.relaxed;
        ret->pieces = backend->pieces;
        pthread_mutex_unlock(&device->lock);
}
