/* client.h: the way to the daemon.
 *
 * Owns how the bus is reached, how calls are made and how their failures are printed. A call leaves
 * its failure in an sd_bus_error and a negative errno; the verb, which knows what it was about,
 * hands both to client_fail(), which prints once and gives the exit code. */
#pragma once

#include "cli/context.h"
#include "cli/exit-code.h"
#include "cli/inventory.h"

#define CLIENT_BUS_NAME     "org.vfwarden1"
#define CLIENT_UNIT         "vfwardend.service"
#define CLIENT_ROOT         "/org/vfwarden1"
#define CLIENT_MANAGER      "org.vfwarden1.Manager"
#define CLIENT_FUNCTION     "org.vfwarden1.Function"
#define CLIENT_PHYSICAL     "org.vfwarden1.PhysicalFunction"
#define CLIENT_STATISTICS   "org.vfwarden1.Statistics"

#define CLIENT_HOW_TO_START "\"systemctl start vfwardend\" starts it"

typedef enum CallFlags {
        /* Do not start a daemon for it: asking how it is must not change how it is. */
        CALL_NO_AUTO_START = 1 << 0,
        /* polkit may ask the user for a password; the call waits for the answer. */
        CALL_INTERACTIVE = 1 << 1,
        /* The daemon does something to the function and answers when that has ended, or is
         * overdue. */
        CALL_OPERATION = 1 << 2,
} CallFlags;

typedef enum DaemonState {
        DAEMON_RUNNING,
        DAEMON_STOPPED,
        DAEMON_NOT_INSTALLED,
} DaemonState;

/* Opens the system bus of the context's host, unless it is open. Returns 0 or a negative errno;
 * -EINVAL for a host name that ssh would take for something else. */
int client_connect(Context *context);

/* Calls `member` of `interface` on the object at `path`; the arguments follow `types` as for
 * sd_bus_message_append(). Returns 0 and the reply in `ret_reply` (may be NULL), or a negative
 * errno and the error. */
int client_call(Context *context, const char *path, const char *interface, const char *member,
                unsigned flags, sd_bus_error *ret_error, sd_bus_message **ret_reply,
                const char *types, ...);

/* A call that is not waited for at once: on a busy bus each round takes its time, and several calls
 * that are sent together take one. */
typedef struct ClientCall {
        sd_bus_message *reply; /* or error, owned; NULL until it is there */
        sd_bus_slot *slot;
} ClientCall;

/* Sends `message`, without a timeout. `call` stays where it is until client_call_done(). */
int client_call_send(sd_bus_message *message, ClientCall *call);

/* Waits until the reply is there. Returns 0; -ETIMEDOUT at `deadline`, of g_get_monotonic_time();
 * or another negative errno, with `ret_error` set when the reply is an error. */
int client_call_wait(Context *context, const ClientCall *call, gint64 deadline,
                     sd_bus_error *ret_error);
void client_call_done(ClientCall *call);

/* Handles what has come from the bus, or waits for something to come. Returns 0, -ETIMEDOUT at
 * `deadline`, or another negative errno. */
int client_process(Context *context, gint64 deadline);

/* How long a call with these flags is waited for, in microseconds; 0 is sd-bus' own time. */
uint64_t client_timeout(unsigned flags);

/* Makes the call without arguments and does not send it; the message is the caller's. */
int client_new_call(Context *context, const char *path, const char *interface, const char *member,
                    unsigned flags, sd_bus_message **ret);

/* The path of the function at `address`, a string of the caller's. */
int client_get_function(Context *context, const char *address, sd_bus_error *ret_error,
                        char **ret_path);

/* The whole inventory, the caller's. -EBADMSG if the daemon's document is not understood. */
int client_describe(Context *context, unsigned flags, sd_bus_error *ret_error, Inventory **ret);

/* Parses the reply of Manager.Describe(). */
int client_read_inventory(sd_bus_message *reply, sd_bus_error *ret_error, Inventory **ret);

/* Whether the daemon's name is on the bus or could be. Asks the bus only. */
int client_daemon_state(Context *context, sd_bus_error *ret_error, DaemonState *ret);

/* " on HOST" for a message, or "". The caller's. */
char *client_where(const Context *context);

/* Prints what failed and why, and returns the exit code. `r` and `error` are those of the call;
 * what was attempted follows as a sentence without its full stop. */
ExitCode client_fail(Context *context, int r, const sd_bus_error *error, const char *format, ...)
        G_GNUC_PRINTF(4, 5);
