/* releases.h: the devices that guests are asked to release, from the request to its end.
 *
 * Owns them. Each holds one inhibitor that delays the unplugs that want the device, from before the
 * guest is asked until libvirt has given the device back: the function is unbound neither while
 * libvirt is at it, nor before it has a driver of the host again. Always holds: the inhibitor stays
 * as long as any unplug waits for the release, and ends with it. A device that a guest releases
 * within ten minutes after all requests have ended is given to it again, so the domain is as it
 * was. */
#pragma once

#include "agent/hypervisor.h"
#include "agent/warden.h"

typedef struct Releases Releases;

/* `warden` and `hypervisor` must outlive it; they are set before the loop runs. */
Releases *releases_new(void);
Releases *releases_free(Releases *releases);
void releases_set(Releases *releases, Warden *warden, Hypervisor *hypervisor);

/* The users of `function` are asked to release it, until `deadline_usec` (CLOCK_REALTIME).
 * `missed`: they were before, and an earlier agent may have asked the guest. */
void releases_request(Releases *releases, PciAddress function, uint64_t deadline_usec, bool missed);

/* An unplug has ended: asks vfwardend which functions still are to be released. */
void releases_look(const Releases *releases);

/* No guest needs to release the function any more, or any function. */
void releases_end(Releases *releases, PciAddress function);
void releases_end_all(Releases *releases);

/* The handler for the hypervisor; its context is the Releases. */
extern const HypervisorHandler releases_hypervisor_handler;
