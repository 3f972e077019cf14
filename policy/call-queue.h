/* call-queue.h: which call is served next.
 *
 * Owns the order and the limits, not the calls. Always holds: root's calls come first. The other
 * users take turns, whatever the number of their calls and clients. The calls of one user keep
 * their order. No client and no user has more calls here than the limits allow. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#define CALL_QUEUE_CLIENT_MAX 16U
#define CALL_QUEUE_UID_MAX    32U
/* Root's bound is there against programs gone wild. */
#define CALL_QUEUE_ROOT_MAX 1024U

typedef struct CallQueue CallQueue;

/* Whether the call can be served now. */
typedef bool CallReady(void *userdata, void *call);

CallQueue *call_queue_new(void);
CallQueue *call_queue_free(CallQueue *queue);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CallQueue, call_queue_free)

unsigned call_queue_count(const CallQueue *queue);

/* Adds `call` of the user `uid`, made by the client of that unique name. Returns 0, or -EDQUOT when
 * the client or the user has as many as the bounds allow. */
int call_queue_add(CallQueue *queue, uint32_t uid, const char *client, void *call);

/* The first call in the order above that is ready, or NULL. It stays in the queue, and is the next
 * one again until it is removed, except that root's calls go before it. Borrowed. */
void *call_queue_next(CallQueue *queue, CallReady *ready, void *userdata);

/* Takes the call out. The turn passes to the next user if it was this user's. */
void call_queue_remove(CallQueue *queue, void *call);

/* Any call of the client, or NULL: to end what a client leaves behind. Borrowed. */
void *call_queue_find(const CallQueue *queue, const char *client);

/* Calls `visit` for each call; `visit` changes nothing here. */
void call_queue_foreach(const CallQueue *queue, GFunc visit, void *userdata);
