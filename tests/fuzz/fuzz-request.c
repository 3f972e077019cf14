/* fuzz-request.c: the rules for requests, against what the architecture says, put in other words.
 *
 * The input is a target and a request. What policy/zpci-request.c allows must be what the sentences
 * below allow, in arithmetic that cannot overflow. */
#include "policy/zpci-request.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef unsigned __int128 Wide;

typedef struct Input {
        uint64_t bar_size, msix_offset, offset, length;
        ZpciRegionRequest request;
        uint32_t config_size;
        uint16_t max;
        uint8_t relaxed, natural, msix_entries, bar, msix_bar, pcias;
} Input;

/* The first and the last byte are in the same block of this many. */
static bool same(Wide block, Wide first, Wide length) {
        return first / block == (first + length - 1) / block;
}

static bool one_piece(Wide offset, Wide length) {
        return (length == 1 || length == 2 || length == 4 || length == 8) && offset % length == 0;
}

static bool there(const ZpciTarget *target, unsigned pcias, Wide offset, Wide length) {
        Wide size = pcias <= 5 ? target->bar_size[pcias] : pcias == 15 ? target->config_size : 0;
        Wide table = target->msix_offset, table_end = table + target->msix_size;

        if (length == 0 || offset + length > size)
                return false;
        /* Some byte is the table's when the later of both beginnings is before the earlier of both
         * ends. */
        return pcias != target->msix_bar ||
               (offset > table ? offset : table) >=
                       (offset + length < table_end ? offset + length : table_end);
}

static bool may_load(const ZpciTarget *target, unsigned pcias, Wide offset, Wide length) {
        if (!there(target, pcias, offset, length))
                return false;
        if (target->natural_loads && !one_piece(offset, length))
                return false;
        return pcias == 15 ? length != 3 && length <= 4 && same(4, offset, length)
                           : same(8, offset, length);
}

static bool may_store_block(const ZpciTarget *target, unsigned pcias, Wide offset, Wide length) {
        return pcias <= 5 && there(target, pcias, offset, length) &&
               length <= target->max_store_block && same(4096, offset, length) &&
               (target->relaxed || (length >= 16 && length % 8 == 0 && offset % 8 == 0));
}

static bool may_store(const ZpciTarget *target, unsigned pcias, Wide offset, Wide length) {
        if (may_store_block(target, pcias, offset, length))
                return true;
        return !target->relaxed && pcias <= 5 && there(target, pcias, offset, length) &&
               same(8, offset, length) && (!target->natural_stores || one_piece(offset, length));
}

static bool may_request(const ZpciTarget *target, const ZpciRegionRequest *request) {
        Wide gaddr = request->gaddr, length = request->length;

        if (gaddr + length > (Wide) UINT64_MAX + 1)
                return false;
        if (request->flags == 1)
                return may_load(target, request->pcias, request->offset, length);
        return request->flags == 2 &&
               may_store_block(target, request->pcias, request->offset, length) &&
               same(4096, gaddr, length) && (target->relaxed || gaddr % 8 == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        ZpciTarget target = { 0 };
        Input input = { 0 };

        memcpy(&input, data, size < sizeof(input) ? size : sizeof(input));
        target.bar_size[input.bar % ZPCI_N_BARS] = input.bar_size;
        target.bar_size[(input.bar / 8U) % ZPCI_N_BARS] = input.bar_size >> 40;
        target.config_size = input.config_size;
        target.max_store_block = input.max % (ZPCI_PAGE_SIZE + 1);
        target.relaxed = input.relaxed & 1;
        target.natural_loads = input.natural & 1;
        target.natural_stores = input.natural & 2;
        target.msix_bar = input.msix_bar % 8;
        /* The register has 29 bits of it. */
        target.msix_offset = input.msix_offset % (UINT64_C(1) << 32);
        target.msix_size = 16U * input.msix_entries;

        for (uint64_t near = 0; near < 3; near++) {
                uint64_t offset = input.offset, length = input.length;

                /* As it comes, at the end of the BAR, and of likely length. */
                if (near == 1)
                        offset = input.bar_size - offset % 64;
                if (near >= 1)
                        length %= 4200;
                assert((zpci_check_load(&target, input.pcias, offset, length) == ZPCI_ALLOWED) ==
                       may_load(&target, input.pcias, offset, length));
                assert((zpci_check_store(&target, input.pcias, offset, length) == ZPCI_ALLOWED) ==
                       may_store(&target, input.pcias, offset, length));
                assert((zpci_check_store_block(&target, input.pcias, offset, length) ==
                        ZPCI_ALLOWED) == may_store_block(&target, input.pcias, offset, length));
        }
        assert((zpci_check_request(&target, &input.request) == ZPCI_ALLOWED) ==
               may_request(&target, &input.request));
        assert((zpci_region_check_read(input.offset, input.length) == 0) ==
               (input.length > 0 && (Wide) input.offset + input.length <= 16));
        assert((zpci_region_check_write(input.offset, input.length) == 0) ==
               (input.length == 32 && input.offset == 16));
        return 0;
}
