/* clients.h: the bytes that the bus still keeps for each client, because the client has not read
 * them.
 *
 * Owns the counts of bytes, the reply that sd-bus makes, and the pending questions to the bus.
 * Counted by references, as replies may outlast the Bus. dbus-daemon keeps an answer until
 * its client has read it. It reads nothing more from the daemon once it keeps more than
 * max_incoming_bytes of the daemon's (check_read_watch() in dbus-transport-socket.c; 127 MiB): one
 * user who reads nothing would stop all answers. So what is sent counts as unread until the bus
 * says otherwise (org.freedesktop.DBus.Debug.Stats, open to root). dbus-broker has no such
 * question, and disconnects a client that reads nothing; there everything counts as read.
 *
 * A user has at most CLIENTS_UID_MAX bytes unread, and a client CLIENTS_CLIENT_MAX and one large
 * answer; with twice as much, not even an error is sent. dbus-daemon lets the client have 128 calls
 * without a reply, and refuses the rest by itself (max_replies_per_connection). */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-bus.h>

/* Twice as many of the longest small answers as dbus-daemon lets a client have pending calls: one
 * who reads has the next calls answered before the bus has said that the answers before were
 * read. */
#define CLIENTS_CLIENT_MAX (2U * 128 * 16 * 1024)
#define CLIENTS_UID_MAX    (10U * 1024 * 1024)
/* All users but root together; beyond it each may have an eighth of CLIENTS_UID_MAX. */
#define CLIENTS_ALL_MAX (64U * 1024 * 1024)

/* The bus has not said whose client it is. */
#define CLIENTS_UID_UNKNOWN UINT32_MAX

typedef enum ClientState {
        CLIENT_READS,
        CLIENT_IS_BEHIND,     /* has more unread than it may */
        CLIENT_IS_FAR_BEHIND, /* twice as much */
} ClientState;

typedef struct Clients Clients;

Clients *clients_new(sd_bus *connection);
Clients *clients_ref(Clients *clients);
void clients_unref(Clients *clients);

/* The bus goes: nothing is asked or noted any more. */
void clients_close(Clients *clients);

/* Notes that `bytes` were sent to the client `name` of the user `uid`. */
void clients_sent(Clients *clients, const char *name, uint32_t uid, size_t bytes);

/* Notes that `reply` was sent; what clients_sent() noted at the call was its head. Nothing is noted
 * of a client that has left. */
void clients_replied(Clients *clients, sd_bus_message *reply);

/* The same of an error that is the reply to `call`: its text may repeat what the client said. */
void clients_replied_error(Clients *clients, sd_bus_message *call, const sd_bus_error *error);

/* The same of a reply that sd-bus is making now, and sends by itself: it is noted at the next
 * clients_note_reply(), or when the next one is made. May be called more than once for a reply. */
void clients_replying(Clients *clients, sd_bus_message *reply);

/* Before anything is decided by what has been noted. */
void clients_note_reply(Clients *clients);

/* The same of a large answer, which clients_can_take_large() had allowed. */
void clients_sent_large(Clients *clients, const char *name, uint32_t uid, size_t bytes);

/* Whether the client and its user read what they are sent; `now_usec` is of CLOCK_MONOTONIC. Asks
 * the bus when it does not look so. */
ClientState clients_state(Clients *clients, const char *name, uint32_t uid, uint64_t now_usec);

/* Whether the client has read all that matters before a large answer. */
bool clients_can_take_large(Clients *clients, const char *name, uint32_t uid, uint64_t now_usec);

/* Whether the client, which asked for a large answer at `since_usec`, has had time to read what was
 * sent before. That runs from the large answer before on: many that were asked for at once take
 * longer to be made than any of them to be read. And it is over only when the bus has said after it
 * that there is still something to read: what is known from before tells nothing. */
bool clients_is_late(const Clients *clients, const char *name, uint32_t uid, uint64_t since_usec,
                     uint64_t now_usec);

/* The client has left. */
void clients_forget(Clients *clients, const char *name);
