/* service-manager.h: what systemd knows of the daemon's own unit.
 *
 * Owns nothing. Asked once, before anything is served: systemd answers while it waits for
 * READY=1. */
#pragma once

#include "dbus/bus-parts.h"

typedef struct ServiceFacts {
        uint32_t fd_store_max; /* FileDescriptorStoreMax=; UINT32_MAX: not known */
        bool started;          /* somebody started it: this is no automatic restart */
} ServiceFacts;

/* Without systemd, or without its answer, nothing is known. */
ServiceFacts service_manager_ask(Bus *bus);
