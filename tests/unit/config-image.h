/* config-image.h: images of configuration spaces, in config-space/: rows as lspci -xxxx prints
 * them, where rows that are left out are zeros; the head of each says whether it is a device's. */
#pragma once

#include <criterion/criterion.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define IMAGE_SIZE_MAX 4096

typedef struct Image {
        uint8_t bytes[IMAGE_SIZE_MAX];
        unsigned size;
        unsigned reads, highest; /* what was asked for */
        bool asked[IMAGE_SIZE_MAX / 4];
        int fail_at; /* this read, counted from 0, fails; -1: none */
} Image;

static inline void image_load(Image *image, const char *name) {
        char path[4096], line[256];
        FILE *file;

        *image = (Image){ .fail_at = -1 };
        snprintf(path, sizeof(path), "%s/%s", getenv("VFWARDEN_CONFIG_SPACE"), name);
        file = fopen(path, "re");
        cr_assert_not_null(file, "%s", path);
        /* Our own files, of numbers that fit: NOLINTBEGIN(cert-err34-c) */
        while (fgets(line, sizeof(line), file)) {
                unsigned offset, byte;
                int used;

                if (line[0] == '#' || sscanf(line, "size: %u", &image->size) == 1)
                        continue;
                cr_assert_leq(image->size, IMAGE_SIZE_MAX);
                if (sscanf(line, "fill: %x", &byte) == 1) {
                        memset(image->bytes, (int) byte, image->size);
                        continue;
                }
                cr_assert_eq(sscanf(line, "%x:%n", &offset, &used), 1, "%s: %s", name, line);
                for (const char *p = line + used; sscanf(p, "%x%n", &byte, &used) == 1; p += used) {
                        cr_assert_lt(offset, image->size, "%s: %s", name, line);
                        image->bytes[offset++] = (uint8_t) byte;
                }
        }
        /* NOLINTEND(cert-err34-c) */
        fclose(file);
}

static inline uint32_t image_word(const Image *image, unsigned offset) {
        return image->bytes[offset] | (uint32_t) image->bytes[offset + 1] << 8 |
               (uint32_t) image->bytes[offset + 2] << 16 |
               (uint32_t) image->bytes[offset + 3] << 24;
}
