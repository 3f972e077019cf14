/* libvirt-loop.h: libvirt's handles and timers on an event loop of systemd.
 *
 * Owns them. libvirt knows one loop in a process, and its functions have no user data: so the
 * watches are found through the one variable of libvirt-loop.c, which lives as long as the
 * process. */
#pragma once

#include <systemd/sd-event.h>

/* Call once, before libvirt is used. Returns 0 or a negative errno. */
int libvirt_loop_register(sd_event *event);
