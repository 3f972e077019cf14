/* hypervisor.h: libvirt, as far as the agent needs it.
 *
 * Owns the connection to libvirt's daemon, and makes it again when it is lost. agent/libvirt.c has
 * it of libvirt's library; the tests link another one. Each call waits for libvirt's daemon, and no
 * call waits for a guest: what a guest does is an event. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <systemd/sd-event.h>

typedef struct Hypervisor Hypervisor;

typedef struct HypervisorHandler {
        /* The connection is there; what happened without one, no event has told. */
        void (*connected)(void *context);
        void (*lost)(void *context);
        /* A guest has released the device, libvirt has given it back to the host, and it is no part
         * of the domain any more. */
        void (*device_removed)(void *context, const char *uuid, const char *alias);
        /* A guest did not let the device be detached. */
        void (*removal_failed)(void *context, const char *uuid, const char *alias);
        /* The domain has ended, and its devices with it. */
        void (*stopped)(void *context, const char *uuid);
} HypervisorHandler;

/* A domain that runs, or is paused. */
typedef struct HypervisorDomain {
        char *xml;
        bool is_running;
        uint32_t pid; /* of its process; 0: not known */
} HypervisorDomain;

/* Connects to `uri` when the loop runs, and as long as it takes. Returns 0 or a negative errno. */
int hypervisor_new(sd_event *event, const char *uri, const HypervisorHandler *handler,
                   void *context, Hypervisor **ret);
Hypervisor *hypervisor_free(Hypervisor *hypervisor);

bool hypervisor_is_connected(const Hypervisor *hypervisor);

/* Returns 0 with an array of HypervisorDomain*, which g_ptr_array_unref() frees. This and the
 * following return a negative errno and, in `ret_why`, a clause of the caller's. */
int hypervisor_list(Hypervisor *hypervisor, GPtrArray **ret, char **ret_why);

/* Asks the guest to release the device, or to shut down. The end is an event. */
int hypervisor_detach(Hypervisor *hypervisor, const char *uuid, const char *alias, char **ret_why);
int hypervisor_shut_down(Hypervisor *hypervisor, const char *uuid, char **ret_why);

/* Gives a device to the running domain. */
int hypervisor_attach(Hypervisor *hypervisor, const char *uuid, const char *xml, char **ret_why);
