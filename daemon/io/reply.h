/* reply.h: the payload of a reply in the making.
 *
 * Owns nothing; the caller has made room for SESSION_REPLY_MAX. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct Reply {
        uint8_t *payload;
        size_t size;
} Reply;

static inline void reply_add(Reply *reply, const void *data, size_t size) {
        memcpy(reply->payload + reply->size, data, size);
        reply->size += size;
}
