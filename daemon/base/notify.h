/* notify.h: the notifications to systemd: READY=1, STATUS=, WATCHDOG=1 and the like, as
 * sd_notify(3) has it.
 *
 * Owns one socket for all messages. sd_notify() opens one for each, so it fails when descriptors
 * are used up: systemd would then kill the daemon, and the guard with it. Always holds: while
 * systemd expects it, the event loop sends "WATCHDOG=1" four times in its period, so only a loop
 * that stands still is killed. Without systemd nothing is sent, which is no error. */
#pragma once

#include <glib.h>
#include <systemd/sd-event.h>

typedef struct Notify Notify;

/* Takes the address from the environment. Returns 0 or a negative errno. */
int notify_new(Notify **ret);
Notify *notify_free(Notify *notify);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Notify, notify_free)

/* Sends one message, lines of VARIABLE=VALUE. Waits until systemd has room for it. Returns 0 or a
 * negative errno. */
int notify_send(Notify *notify, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The same with a copy of a descriptor. */
int notify_send_fd(Notify *notify, int fd, const char *format, ...)
        __attribute__((format(printf, 3, 4)));

/* Keeps the watchdog content from now on, if there is one. Returns 0 or a negative errno. */
int notify_start_watchdog(Notify *notify, sd_event *event);
