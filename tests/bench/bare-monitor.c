/* bare-monitor.c: the least that following uevents costs, for the benchmark to measure vfwardend
 * against.
 *
 * Listens by libudev ("kernel" monitor, pci only), as such a monitor does, and answers each event
 * with one signal that says what the event itself says of the driver. It looks at no file and knows
 * nothing of what was before. */
#include "tests/bench/udev.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>

typedef struct Bare {
        struct udev_monitor *monitor;
        sd_bus *bus;
} Bare;

static int on_readable(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        const Bare *bare = userdata;

        for (;;) {
                _cleanup_(udev_device_unrefp) struct udev_device *device = NULL;
                const char *driver;
                int r;

                device = udev_monitor_receive_device(bare->monitor);
                if (!device)
                        return 0;
                driver = udev_device_get_property_value(device, "DRIVER");
                r = sd_bus_emit_signal(bare->bus, "/bare", "org.freedesktop.DBus.Properties",
                                       "PropertiesChanged", "sa{sv}as", "org.vfwarden1.Function", 1,
                                       "Driver", "s", driver ? driver : "", 0);
                if (r < 0)
                        return r;
        }
}

static int run(Bare *bare, sd_event *event) {
        int r;

        r = udev_monitor_filter_add_match_subsystem_devtype(bare->monitor, "pci", NULL);
        if (r >= 0)
                r = udev_monitor_enable_receiving(bare->monitor);
        if (r >= 0)
                r = sd_event_add_io(event, NULL, udev_monitor_get_fd(bare->monitor), EPOLLIN,
                                    on_readable, bare);
        if (r >= 0)
                r = sd_bus_attach_event(bare->bus, event, SD_EVENT_PRIORITY_NORMAL);
        if (r < 0)
                return r;
        sd_notify(false, "READY=1");
        return sd_event_loop(event);
}

int main(void) {
        _cleanup_(udev_unrefp) struct udev *udev = udev_new();
        _cleanup_(sd_event_unrefp) sd_event *event = NULL;
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        Bare bare = { 0 };
        int r;

        if (udev)
                bare.monitor = udev_monitor_new_from_netlink(udev, "kernel");
        if (!bare.monitor || sd_event_default(&event) < 0 || sd_bus_open_system(&bus) < 0) {
                fprintf(stderr, "bare-monitor: no monitor, no loop or no bus\n");
                return EXIT_FAILURE;
        }
        bare.bus = bus;
        r = run(&bare, event);
        udev_monitor_unref(bare.monitor);
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
