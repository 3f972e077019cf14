#include "policy/io-ring.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

/* Between two looks at the clock. */
#define LOOKS 32U

static_assert(sizeof(IoRingEntry) == 64, "layout");
static_assert(sizeof(IoRingMemory) == 8192, "layout");
static_assert(offsetof(IoRingMemory, server) == 256, "layout");
static_assert(offsetof(IoRingMemory, entries) == 4096, "layout");

bool io_ring_is_asked(const uint8_t *text, size_t size) {
        static const char name[] = IO_RING_CAPABILITY;
        const size_t length = sizeof(name) - 1;

        for (size_t at = 0; size >= length && at <= size - length; at++)
                if (memcmp(text + at, name, length) == 0)
                        return true;
        return false;
}

int io_ring_check_setup(const VfioUserRing *asked, bool may_spin, VfioUserRing *ret) {
        uint32_t spin = asked->max_spin_usec;

        if (asked->flags != 0 || asked->entries < IO_RING_ENTRIES_MIN ||
            asked->entries > IO_RING_ENTRIES_MAX || (asked->entries & (asked->entries - 1)) != 0)
                return -EINVAL;
        if (spin > IO_RING_SPIN_MAX_USEC)
                spin = IO_RING_SPIN_MAX_USEC;
        *ret = (VfioUserRing){
                .argsz = sizeof(*ret),
                .entries = asked->entries,
                .max_spin_usec = may_spin ? spin : 0,
        };
        return 0;
}

int io_ring_pending(uint32_t head, uint32_t tail, uint32_t entries) {
        uint32_t pending = tail - head;

        return pending > entries ? -EBADMSG : (int) pending;
}

int io_ring_check_entry(const ZpciTarget *target, const IoRingEntry *entry) {
        ZpciViolation violation;

        for (size_t i = 0; i < sizeof(entry->reserved) / sizeof(*entry->reserved); i++)
                if (entry->reserved[i] != 0)
                        return -EINVAL;
        if (entry->region >= ZPCI_N_BARS || entry->count == 0 || entry->count > sizeof(entry->data))
                return -EINVAL;
        if (entry->kind == IO_RING_LOAD)
                violation = zpci_check_load(target, entry->region, entry->offset, entry->count);
        else if (entry->kind == IO_RING_STORE)
                violation = zpci_check_store(target, entry->region, entry->offset, entry->count);
        else
                return -EINVAL;
        return violation == ZPCI_ALLOWED ? 0 : -EINVAL;
}

static void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
        __builtin_ia32_pause();
#endif
}

bool io_ring_spins_on(IoRingSpin *spin, uint32_t max_usec, uint64_t (*now_usec)(void)) {
        uint64_t now;

        relax();
        if (spin->looks++ % LOOKS != 0)
                return true;
        now = now_usec();
        if (spin->end_usec == 0)
                spin->end_usec = now + max_usec;
        return now < spin->end_usec;
}

int io_ring_woken(int pending, unsigned *empty_wakes) {
        if (pending > 0)
                *empty_wakes = 0;
        else if (++*empty_wakes > IO_RING_EMPTY_WAKES_MAX)
                return -EBADMSG;
        return 0;
}
