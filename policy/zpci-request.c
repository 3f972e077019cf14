#include "policy/zpci-request.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>

static_assert(sizeof(ZpciRegionHeader) == 16, "layout");
static_assert(sizeof(ZpciRegionRequest) == 32, "layout");
static_assert(ZPCI_VIOLATION_INVALID == -EINVAL, "enum");

static const char *const violation_words[ZPCI_VIOLATION_MAX] = {
        [ZPCI_ALLOWED] = "allowed",
        [ZPCI_BAD_OPERATION] = "neither a load nor a store block",
        [ZPCI_BAD_SPACE] = "no such address space, or not for this operation",
        [ZPCI_BAD_LENGTH] = "not a length for this operation",
        [ZPCI_BAD_ALIGNMENT] = "offset is not a multiple of 8",
        [ZPCI_CROSSES] = "crosses a word, a doubleword or a page",
        [ZPCI_WOULD_SPLIT] = "would not be done in one piece",
        [ZPCI_PAST_END] = "past the end of the address space",
        [ZPCI_IS_MSIX_TABLE] = "the MSI-X table is the kernel's",
        [ZPCI_BAD_SOURCE] = "data is not aligned, crosses a page or wraps around",
};

const char *zpci_violation_to_string(ZpciViolation violation) {
        return violation >= 0 && violation < ZPCI_VIOLATION_MAX ? violation_words[violation] : NULL;
}

/* Whether the bytes from `offset` on, of which there is at least one, stay in one block of `block`
 * bytes. */
static bool inside(uint64_t block, uint64_t offset, uint64_t length) {
        return length <= block && offset % block <= block - length;
}

static bool is_natural(uint64_t offset, uint64_t length) {
        return (length & (length - 1)) == 0 && offset % length == 0;
}

/* What holds of any access: `offset` and `length` have no other bound than these. */
static ZpciViolation check_range(const ZpciTarget *target, unsigned pcias, uint64_t offset,
                                 uint64_t length) {
        uint64_t size = pcias < ZPCI_N_BARS          ? target->bar_size[pcias]
                        : pcias == ZPCI_SPACE_CONFIG ? target->config_size
                                                     : 0;
        uint64_t end;

        if (size == 0)
                return ZPCI_BAD_SPACE;
        if (length == 0)
                return ZPCI_BAD_LENGTH;
        if (__builtin_add_overflow(offset, length, &end) || end > size)
                return ZPCI_PAST_END;
        if (target->msix_size != 0 && pcias == target->msix_bar && end > target->msix_offset &&
            offset < target->msix_offset + target->msix_size)
                return ZPCI_IS_MSIX_TABLE;
        return ZPCI_ALLOWED;
}

ZpciViolation zpci_check_load(const ZpciTarget *target, unsigned pcias, uint64_t offset,
                              uint64_t length) {
        ZpciViolation violation = check_range(target, pcias, offset, length);

        if (violation != ZPCI_ALLOWED)
                return violation;
        if (pcias == ZPCI_SPACE_CONFIG) {
                if (length != 1 && length != 2 && length != 4)
                        return ZPCI_BAD_LENGTH;
                if (!inside(4, offset, length))
                        return ZPCI_CROSSES;
        } else {
                if (length > ZPCI_LOAD_MAX)
                        return ZPCI_BAD_LENGTH;
                if (!inside(8, offset, length))
                        return ZPCI_CROSSES;
        }
        if (target->natural_loads && !is_natural(offset, length))
                return ZPCI_WOULD_SPLIT;
        return ZPCI_ALLOWED;
}

ZpciViolation zpci_check_store_block(const ZpciTarget *target, unsigned pcias, uint64_t offset,
                                     uint64_t length) {
        ZpciViolation violation = check_range(target, pcias, offset, length);

        if (pcias >= ZPCI_N_BARS)
                return ZPCI_BAD_SPACE;
        if (violation != ZPCI_ALLOWED)
                return violation;
        if (length > target->max_store_block)
                return ZPCI_BAD_LENGTH;
        if (!target->relaxed) {
                if (length <= 8 || length % 8 != 0)
                        return ZPCI_BAD_LENGTH;
                if (offset % 8 != 0)
                        return ZPCI_BAD_ALIGNMENT;
        }
        if (!inside(ZPCI_PAGE_SIZE, offset, length))
                return ZPCI_CROSSES;
        return ZPCI_ALLOWED;
}

ZpciViolation zpci_check_store(const ZpciTarget *target, unsigned pcias, uint64_t offset,
                               uint64_t length) {
        ZpciViolation violation;

        /* A relaxed target does every store as a block. */
        if (length > 8 || target->relaxed)
                return zpci_check_store_block(target, pcias, offset, length);
        if (pcias >= ZPCI_N_BARS)
                return ZPCI_BAD_SPACE;
        violation = check_range(target, pcias, offset, length);
        if (violation != ZPCI_ALLOWED)
                return violation;
        if (!inside(8, offset, length))
                return ZPCI_CROSSES;
        if (target->natural_stores && !is_natural(offset, length))
                return ZPCI_WOULD_SPLIT;
        return ZPCI_ALLOWED;
}

ZpciViolation zpci_check_request(const ZpciTarget *target, const ZpciRegionRequest *request) {
        ZpciViolation violation;
        uint64_t last;

        if (request->flags == ZPCI_REQUEST_LOAD)
                violation =
                        zpci_check_load(target, request->pcias, request->offset, request->length);
        else if (request->flags == ZPCI_REQUEST_STORE_BLOCK)
                violation = zpci_check_store_block(target, request->pcias, request->offset,
                                                   request->length);
        else
                return ZPCI_BAD_OPERATION;
        if (violation != ZPCI_ALLOWED)
                return violation;

        if (__builtin_add_overflow(request->gaddr, request->length - 1U, &last))
                return ZPCI_BAD_SOURCE;
        if (request->flags == ZPCI_REQUEST_STORE_BLOCK) {
                if (!target->relaxed && request->gaddr % 8 != 0)
                        return ZPCI_BAD_SOURCE;
                if (!inside(ZPCI_PAGE_SIZE, request->gaddr, request->length))
                        return ZPCI_BAD_SOURCE;
        }
        return ZPCI_ALLOWED;
}

int zpci_region_check_read(uint64_t offset, uint64_t count) {
        if (offset >= ZPCI_REGION_SIZE || count == 0)
                return -EINVAL;
        if (offset >= ZPCI_REGION_REQUEST_OFFSET || count > ZPCI_REGION_REQUEST_OFFSET - offset)
                return -EFAULT;
        return 0;
}

int zpci_region_check_write(uint64_t offset, uint64_t count) {
        if (offset >= ZPCI_REGION_SIZE || count == 0)
                return -EINVAL;
        if (offset != ZPCI_REGION_REQUEST_OFFSET || count != sizeof(ZpciRegionRequest))
                return -EFAULT;
        return 0;
}
