/* method.h: a call of a D-Bus method, from the bus to its handler and back.
 *
 * Owns the calls on their way. A method without a row in the table of
 * dbus/interfaces/method-table.h is refused, whatever vtable it stands in, so none can be
 * forgotten. Reading is free; what changes something names a polkit action. */
#pragma once

#include "dbus/bus-parts.h"

/* polkit's actions. */
#define ACTION_CONFIGURE   "org.vfwarden1.configure"
#define ACTION_INHIBIT     "org.vfwarden1.inhibit"
#define ACTION_OPEN_DEVICE "org.vfwarden1.open-device"
#define ACTION_OVERRIDE    "org.vfwarden1.override"
#define ACTION_UNPLUG      "org.vfwarden1.unplug"
#define ACTION_ZPCI_IO     "org.vfwarden1.zpci-io"

/* comm has at most 15 bytes (TASK_COMM_LEN in include/linux/sched.h), and what is no text takes up
 * to 3 bytes each here. */
#define METHOD_COMMAND_MAX 46

/* The caller of an `open` method whom the bus has not named yet. */
#define METHOD_UID_UNKNOWN UINT32_MAX

typedef struct Method Method;

typedef struct MethodCall {
        Bus *bus;
        sd_bus_message *message;
        const Method *method; /* its row; NULL: a method of sd-bus itself */
        PciKey key;     /* of the function that is concerned, by path or by the first argument; of
                           several the one that polkit is asked about ... */
        uint64_t inode; /* ... and this is the device; 0: none is */
        uint32_t uid;   /* the caller's, or METHOD_UID_UNKNOWN */
        uint32_t pid;   /* likewise, 0 when unknown; for people only: another may have it by now */
        char command[METHOD_COMMAND_MAX]; /* comm of that process */
        unsigned n_asked; /* of several functions: those that polkit was asked about */
} MethodCall;

typedef struct MethodReply MethodReply;

typedef int MethodHandler(const MethodCall *call, sd_bus_error *error);

struct Method {
        const char *interface, *member;
        const char *action; /* polkit's, or NULL: free to all */
        MethodHandler *run;
        bool open;    /* runs before the bus names the caller; -EAGAIN: it needs that, and runs
                         again */
        bool names;   /* a function, in its first argument, a string: polkit gets that */
        bool several; /* functions, in its first argument, an array: polkit is asked about each */
        bool waits;   /* for the kernel or a holder, and so is counted; with an action only */
        bool wants;   /* the function: an idle process on it has to end first, see manager_let_go()
                         ... */
        bool repeats; /* ... but for what serves the same user's calls of this kind; they come in
                         runs */
};

/* The handler that every method in a vtable names: finds the row and the caller's user, asks for
 * authorisation if need be, and runs the method, now or when the answers are there. */
int method_dispatch(sd_bus_message *message, void *userdata, sd_bus_error *error);

/* For a method that `waits`: what replies to the call when it is known how it went, by
 * method_reply(). Returns NULL, with `error` set, when the caller's user has too many calls
 * waiting, and for any other method. */
MethodReply *method_reply_later(const MethodCall *call, sd_bus_error *error);

/* Replies, and frees `reply`, a MethodReply; a ManagerDone. */
void method_reply(void *reply, int result, const char *message);

/* Begins a reply with values: an empty message, to be filled and handed to method_reply_with().
 * Returns false when there is none to be: `result` is negative, or it cannot be made; then it was
 * replied so, and `reply` freed. */
bool method_reply_begin(MethodReply *reply, int result, const char *message, sd_bus_message **ret);

/* Replies with `message`, whose reference it takes over, unless `r` is negative: then with a
 * failure. Frees `reply`. */
void method_reply_with(MethodReply *reply, sd_bus_message *message, int r);

/* Sets `error` for a request that was undone since it would not have survived the daemon: `r` is
 * what the manager returned. Returns a negative errno. */
int method_fail(const MethodCall *call, int r, sd_bus_error *error);

/* An option that a method knows. `ret` is as sd_bus_message_read() has it for the basic `type`. */
typedef struct MethodOption {
        const char *name, *type;
        void *ret;
} MethodOption;

/* Reads a dictionary of the options `known`, an array that a row without a name ends. What is not
 * given is left alone. Returns 0, or a negative errno with `error` set where it is the options'. */
int method_read_options(sd_bus_message *message, const MethodOption *known, sd_bus_error *error);

/* The function whose object was called, looked up now: it may have gone while the caller was being
 * authorised, and another may have its address. Returns NULL with `error` set then. Borrowed. */
Function *method_function(const MethodCall *call, sd_bus_error *error);

/* The function that a client names in `text`, or `error` is set and a negative number returned.
 * Borrowed. */
int method_find_function(const MethodCall *call, const char *text, Function **ret,
                         sd_bus_error *error);
