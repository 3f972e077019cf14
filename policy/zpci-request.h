/* zpci-request.h: which PCI loads and stores a function may be asked for.
 *
 * Owns nothing. A request that an instruction of the z/Architecture would refuse is refused before
 * any device sees it: PCI LOAD (PCILG), PCI STORE (PCISTG) and PCI STORE BLOCK (PCISTB), strict as
 * the architecture has them or relaxed as ISM devices take them; and the request of the zPCI I/O
 * region, whose layout was proposed for vfio-pci in 2021. Nothing is ever split: a request is one
 * instruction, or refused. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* The address spaces of a function: its BARs, and its configuration. */
#define ZPCI_N_BARS       6U
#define ZPCI_SPACE_CONFIG 15U

/* The longest block that any function takes: it never leaves a page. */
#define ZPCI_PAGE_SIZE 4096U
#define ZPCI_LOAD_MAX  8U

/* The capabilities of a function and its back end. */
typedef struct ZpciTarget {
        uint64_t bar_size[ZPCI_N_BARS]; /* 0: there is none */
        uint32_t config_size;
        uint16_t max_store_block; /* at most ZPCI_PAGE_SIZE; 8 when there is no store block */
        bool relaxed;             /* a block may have any length and alignment */
        /* The back end would split what is not 1, 2, 4 or 8 bytes, aligned. */
        bool natural_loads, natural_stores;
        /* The MSI-X table, which only the kernel may write; `msix_size` 0: there is none. */
        uint8_t msix_bar;
        uint64_t msix_offset, msix_size;
} ZpciTarget;

/* The region: a header that is read, at 0, and a request that is written, at 16. */
typedef struct ZpciRegionHeader {
        uint64_t flags; /* 0 */
        uint16_t max;   /* the longest store block */
        uint16_t reserved1;
        uint32_t reserved2;
} ZpciRegionHeader;

typedef struct ZpciRegionRequest {
        uint64_t flags;  /* one of those below, alone */
        uint64_t gaddr;  /* of the data, in the memory that the client has mapped */
        uint64_t offset; /* in the address space */
        uint32_t reserved1;
        uint16_t length;
        uint8_t pcias;
        uint8_t reserved2;
} ZpciRegionRequest;

#define ZPCI_REQUEST_LOAD          (1U << 0)
#define ZPCI_REQUEST_STORE_BLOCK   (1U << 1)

#define ZPCI_REGION_TYPE           0x80001014U /* PCI vendor type, IBM */
#define ZPCI_REGION_SUBTYPE        2U
#define ZPCI_REGION_REQUEST_OFFSET ((uint32_t) sizeof(ZpciRegionHeader))
#define ZPCI_REGION_SIZE           ((uint32_t) (sizeof(ZpciRegionHeader) + sizeof(ZpciRegionRequest)))

typedef enum ZpciViolation {
        ZPCI_ALLOWED,
        ZPCI_BAD_OPERATION,
        ZPCI_BAD_SPACE,
        ZPCI_BAD_LENGTH,
        ZPCI_BAD_ALIGNMENT,
        ZPCI_CROSSES, /* a word, a doubleword or a page, as it applies */
        ZPCI_WOULD_SPLIT,
        ZPCI_PAST_END,
        ZPCI_IS_MSIX_TABLE,
        ZPCI_BAD_SOURCE,
        ZPCI_VIOLATION_MAX,
        ZPCI_VIOLATION_INVALID = -22, /* -EINVAL */
} ZpciViolation;

/* In words, for people. */
const char *zpci_violation_to_string(ZpciViolation violation);

/* PCILG: from a BAR 1 to 8 bytes inside one doubleword, from configuration space 1, 2 or 4 inside
 * one word. */
ZpciViolation zpci_check_load(const ZpciTarget *target, unsigned pcias, uint64_t offset,
                              uint64_t length);

/* One store to a BAR: PCISTG of 1 to 8 bytes inside one doubleword, or PCISTB as below. */
ZpciViolation zpci_check_store(const ZpciTarget *target, unsigned pcias, uint64_t offset,
                               uint64_t length);

/* PCISTB to a BAR, at most the target's maximum, inside one page of 4 KiB. Strict: more than 8
 * bytes, length and offset multiples of 8. Relaxed: any length but 0, any offset. */
ZpciViolation zpci_check_store_block(const ZpciTarget *target, unsigned pcias, uint64_t offset,
                                     uint64_t length);

/* A whole request of the region: the above, and where the data is. The source of a block stays
 * inside one page, strict 8-aligned; no `gaddr` wraps around. Reserved fields are not looked at, as
 * in 2021. A caller that replies with an errno replies to any violation with EIO. */
ZpciViolation zpci_check_request(const ZpciTarget *target, const ZpciRegionRequest *request);

/* A read of `count` bytes at `offset` of the region: 0, -EINVAL when it begins past the region's
 * end, -EFAULT when it touches more than the header. `count` 0 is -EINVAL. */
int zpci_region_check_read(uint64_t offset, uint64_t count);

/* A write. A request is written in one piece: -EINVAL past the end, -EFAULT for anything but all of
 * the request. */
int zpci_region_check_write(uint64_t offset, uint64_t count);
