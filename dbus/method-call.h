/* method-call.h: the row of a D-Bus method, and one call of it.
 *
 * Owns nothing: these are what the modules know of a call that is on its way (method.h). Reading is
 * free; what changes something names a polkit action. */
#pragma once

#include "dbus/bus-parts.h"

/* polkit's actions. */
#define ACTION_CONFIGURE   "org.vfwarden1.configure"
#define ACTION_INHIBIT     "org.vfwarden1.inhibit"
#define ACTION_OPEN_DEVICE "org.vfwarden1.open-device"
#define ACTION_OVERRIDE    "org.vfwarden1.override"
#define ACTION_UNPLUG      "org.vfwarden1.unplug"
#define ACTION_ZPCI_IO     "org.vfwarden1.zpci-io"
#define ACTION_ZPCI_IO_DMA "org.vfwarden1.zpci-io-dma"

/* comm has at most 15 bytes (TASK_COMM_LEN in include/linux/sched.h), and what is no text takes up
 * to 3 bytes each here. */
#define METHOD_COMMAND_MAX 46

/* The caller of an `open` method whom the bus has not named yet. */
#define METHOD_UID_UNKNOWN UINT32_MAX

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

typedef int MethodHandler(const MethodCall *call, sd_bus_error *error);

struct Method {
        const char *interface, *member;
        const char *action; /* polkit's, or NULL: free to all */
        MethodHandler *run;
        bool open;        /* runs before the bus names the caller; -EAGAIN: it needs that, and runs
                             again */
        bool names;       /* a function, in its first argument, a string: polkit gets that */
        unsigned several; /* functions, in its first argument, an array: polkit is asked about each,
                             and users other than root may name so many */
        bool waits;       /* for the kernel or a holder, and so is counted; with an action only */
        bool wants;   /* the function: an idle process on it has to end first, see manager_let_go()
                         ... */
        bool repeats; /* ... but for what serves the same user's calls of this kind; they come in
                         runs */
};
