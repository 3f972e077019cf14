/* bus-parts.h: what the modules of dbus/ share.
 *
 * bus.c makes the parts and frees them. All are there from bus_serve() on. */
#pragma once

#include "daemon/manager/manager.h"

#include <systemd/sd-bus.h>

typedef struct Admission Admission;
typedef struct Answers Answers;
typedef struct Authority Authority;
typedef struct Clients Clients;
typedef struct Method Method;
typedef struct Quota Quota;
typedef struct RequestLog RequestLog;
typedef struct Senders Senders;
typedef struct SleepInhibitor SleepInhibitor;

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
        SleepInhibitor *sleep;
        /* The row of a method, or NULL; see interfaces/method-table.h. */
        const Method *(*find_method)(const char *interface, const char *member);
        GHashTable *shown; /* PciKey* -> bits of the interfaces that clients know of the function */
        Quota *waiting; /* of calls that wait for the kernel or a holder, see method_reply_later()
                         */
} Bus;
