#include "daemon/sysfs/uevents.h"

#include "daemon/base/log.h"
#include "daemon/base/util.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>

/* After so many events others have their turn, even if more are waiting. */
#define UEVENTS_BATCH_MAX 512

struct Uevents {
        struct udev *udev;
        struct udev_monitor *monitor;
        sd_event_source *source;
        const UeventsHandler *handler;
        void *context;
};

/* .../0000:01:10.0/vfio-dev/vfio3: VFIO's device below a function. It is the first thing to go when
 * the function is unbound, and the only sign until the last user has released it
 * (vfio_unregister_group_dev()). */
static int parse_vfio_parent(const char *path, PciAddress *ret) {
        g_auto(GStrv) parts = g_strsplit(path, "/", -1);
        guint n = g_strv_length(parts);

        return n >= 3 ? pci_address_parse(parts[n - 3], ret) : -EINVAL;
}

static void uevents_hand_over(Uevents *uevents, struct udev_device *device) {
        const char *action = udev_device_get_action(device);
        const char *name = udev_device_get_sysname(device);
        const char *subsystem = udev_device_get_subsystem(device);
        const char *path = udev_device_get_devpath(device);
        const char *old_path = udev_device_get_property_value(device, "DEVPATH_OLD");
        PciAddress address;

        if (!action || !name || !subsystem || !path)
                return;
        if (strcmp(subsystem, "pci") != 0) {
                if (parse_vfio_parent(path, &address) == 0)
                        uevents->handler->event(uevents->context, pci_address_key(address));
                return;
        }
        if (pci_address_parse(name, &address) < 0)
                return;
        log_full(LOG_DEBUG, &address, NULL, "uevent %s", action);

        if (strcmp(action, "move") == 0 && old_path) {
                const char *old_name = strrchr(old_path, '/');
                PciAddress old;

                if (old_name && pci_address_parse(old_name + 1, &old) == 0)
                        uevents->handler->event(uevents->context, pci_address_key(old));
        }
        uevents->handler->event(uevents->context, pci_address_key(address));
}

static int on_uevents_readable(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        Uevents *uevents = userdata;

        for (unsigned i = 0; i < UEVENTS_BATCH_MAX; i++) {
                _cleanup_(udev_device_unrefp) struct udev_device *device = NULL;

                errno = 0;
                device = udev_monitor_receive_device(uevents->monitor);
                if (device) {
                        uevents_hand_over(uevents, device);
                        continue;
                }
                /* netlink(7): the socket's buffer was full and messages were dropped. The events in
                 * the buffer are still to come. */
                if (errno == ENOBUFS)
                        uevents->handler->overrun(uevents->context);
                else if (errno == EAGAIN || errno == 0)
                        break;
                else if (errno != EINTR) {
                        log_error("an event cannot be received: %m");
                        break;
                }
        }
        return 0;
}

int uevents_new(sd_event *event, const UeventsHandler *handler, void *context, int receive_buffer,
                Uevents **ret) {
        Uevents *uevents = g_new0(Uevents, 1);
        int r = -ENOMEM;

        uevents->handler = handler;
        uevents->context = context;
        uevents->udev = udev_new();
        if (uevents->udev)
                uevents->monitor = udev_monitor_new_from_netlink(uevents->udev, "kernel");
        if (uevents->monitor)
                r = udev_monitor_filter_add_match_subsystem_devtype(uevents->monitor, "pci", NULL);
        if (r >= 0)
                r = udev_monitor_filter_add_match_subsystem_devtype(uevents->monitor, "vfio-dev",
                                                                    NULL);
        /* Without CAP_NET_ADMIN, which the unit does not have, the kernel's maximum is
         * net.core.rmem_max. After an overrun all functions are read again. */
        if (r >= 0 && receive_buffer > 0 &&
            udev_monitor_set_receive_buffer_size(uevents->monitor, receive_buffer) < 0)
                log_debug("the receive buffer for events stays at the system's size");
        if (r >= 0)
                r = udev_monitor_enable_receiving(uevents->monitor);
        if (r >= 0)
                r = sd_event_add_io(event, &uevents->source, udev_monitor_get_fd(uevents->monitor),
                                    EPOLLIN, on_uevents_readable, uevents);
        /* Before the bus, so that clients are answered from what is already known to have
         * changed. */
        if (r >= 0)
                r = sd_event_source_set_priority(uevents->source, UEVENTS_PRIORITY);
        if (r >= 0)
                r = sd_event_source_set_description(uevents->source, "uevents: netlink");
        if (r < 0) {
                uevents_free(uevents);
                return r;
        }
        *ret = uevents;
        return 0;
}

Uevents *uevents_free(Uevents *uevents) {
        if (!uevents)
                return NULL;
        sd_event_source_disable_unref(uevents->source);
        g_clear_pointer(&uevents->monitor, udev_monitor_unref);
        g_clear_pointer(&uevents->udev, udev_unref);
        g_free(uevents);
        return NULL;
}
