/* senders.h: the users behind the clients' unique names.
 *
 * Owns what the bus said of each client that called lately, and the questions to the bus that are
 * pending. Nothing here blocks, which sd_bus_query_sender_creds(3) and sd_bus_track do. The bus
 * gives no unique name twice, and the credentials of a connection never change (D-Bus
 * specification, "GetConnectionCredentials"): an entry holds until its client leaves the bus. */
#pragma once

#include "dbus/method-call.h"

#include <stdint.h>
#include <systemd/sd-bus.h>

/* At most so many clients are remembered; the bus asks again for others. dbus-daemon admits as many
 * connections (max_completed_connections). */
#define SENDERS_MAX 2048U

/* So many calls of one client may wait for the bus. No client of dbus-daemon has more calls pending
 * (max_replies_per_connection), but for those that want no reply. */
#define SENDERS_WAITERS_MAX 128U

typedef struct Senders Senders;

typedef struct Sender {
        uint32_t uid;
        uint32_t pid; /* 0 when unknown; for people only: another process may have it by now */
        char command[METHOD_COMMAND_MAX]; /* comm of that process when it first called */
} Sender;

/* `result` is 0 with `sender`, -ENXIO when the client has left the bus, -EDQUOT when too many calls
 * of the client wait for the bus, or another negative errno. */
typedef void SenderFound(void *userdata, int result, const Sender *sender);

/* The client `name` has left the bus. */
typedef void SenderLeft(void *userdata, const char *name);

/* Waits for the bus once, to subscribe to departures on `connection`; before the event loop runs.
 * The bus is asked on `questions`, see bus.h. */
int senders_new(sd_bus *connection, sd_bus *questions, Senders **ret);

/* Callbacks that are still pending run with -ECANCELED. */
Senders *senders_free(Senders *senders);

/* Calls `found` exactly once: now when the client is remembered, or when the bus has answered. One
 * question serves all calls for one client. */
void senders_find(Senders *senders, const char *name, SenderFound *found, void *userdata);

/* The client, if it is remembered; else NULL. Borrowed, until the next turn of the event loop. */
const Sender *senders_peek(const Senders *senders, const char *name);

/* `left` is called for each client that leaves, whether or not it ever called. For as long as
 * `senders` lives. */
void senders_watch(Senders *senders, SenderLeft *left, void *userdata);
