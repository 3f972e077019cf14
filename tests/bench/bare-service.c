/* bare-service.c: an sd-bus service that answers every call with nothing: what the bus itself
 * costs.
 *
 * bare-service NAME
 *
 * It takes NAME on the system bus, says READY=1 and serves until it is killed. */
#include "daemon/base/util.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>

static int on_message(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        if (sd_bus_message_is_method_call(message, NULL, NULL) <= 0)
                return 0;
        return sd_bus_reply_method_return(message, NULL);
}

static int serve(const char *name) {
        _cleanup_(sd_event_unrefp) sd_event *event = NULL;
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        int r;

        r = sd_event_default(&event);
        if (r >= 0)
                r = sd_bus_open_system(&bus);
        if (r >= 0)
                r = sd_bus_add_filter(bus, NULL, on_message, NULL);
        if (r >= 0)
                r = sd_bus_attach_event(bus, event, SD_EVENT_PRIORITY_NORMAL);
        if (r >= 0)
                r = sd_bus_request_name(bus, name, 0);
        if (r >= 0)
                r = sd_notify(false, "READY=1");
        return r < 0 ? r : sd_event_loop(event);
}

int main(int argc, char **argv) {
        int r;

        if (argc != 2) {
                fprintf(stderr, "bare-service: wrong arguments\n");
                return EXIT_FAILURE;
        }
        r = serve(argv[1]);
        fprintf(stderr, "bare-service: %s\n", strerror(-r));
        return EXIT_FAILURE;
}
