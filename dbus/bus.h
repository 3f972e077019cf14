/* bus.h: the daemon on the system bus.
 *
 * Owns the connection, the objects on it and the signals it sends. Objects are found in the
 * manager's inventory when they are asked for; none is kept here, so there is nothing to go stale.
 * Reading a property touches no file. Made by main().
 *
 * There is a second connection for questions to the bus and to polkit. On the first their answers
 * would stand behind all calls that wait to be read, so a flood of calls would make each new client
 * wait twice. */
#pragma once

#include "daemon/manager/manager.h"

#include <systemd/sd-bus.h>

typedef struct Admission Admission;
typedef struct Answers Answers;
typedef struct Authority Authority;
typedef struct Clients Clients;
typedef struct Quota Quota;
typedef struct RequestLog RequestLog;
typedef struct Senders Senders;

typedef struct Bus {
        sd_bus *connection;
        sd_bus *questions;
        Manager *manager;
        Senders *senders;
        Authority *authority;
        RequestLog *requests;
        Clients *clients;
        Answers *answers;
        Admission *admission;
        Quota *waiting; /* of calls that wait for the kernel or a holder, see method_reply_later()
                         */
} Bus;

/* Connects to the system bus and takes the name: before anything is touched, for two daemons with
 * two opinions on the same files would be worse than none. Calls that come now wait for
 * bus_serve(). Returns 0 or a negative errno, -EEXIST if there is another daemon; it has been
 * logged. */
int bus_new(Bus **ret);

/* Exports everything and becomes the observer of `manager`, which must outlive the Bus. Returns 0
 * or a negative errno; what was wrong has been logged. */
int bus_serve(Bus *bus, sd_event *event, Manager *manager);

Bus *bus_free(Bus *bus);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Bus, bus_free)
