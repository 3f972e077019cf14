/* addressed-signals.h: a program of the project that waits for signals takes none that is for it
 * alone.
 *
 * Owns nothing. The bus lets anybody send a signal of any interface to one connection, and
 * libsystemd takes a sender that is a unique name for the owner of whichever name a match asks for
 * (value_node_test() in bus-match.c). All that the project waits for is broadcast, which the bus
 * delivers only if the sender is right. */
#pragma once

#include <systemd/sd-bus.h>

static inline int on_addressed_signal(sd_bus_message *message, void *userdata,
                                      sd_bus_error *error) {
        return sd_bus_message_is_signal(message, NULL, NULL) > 0 &&
               sd_bus_message_get_destination(message) != NULL;
}

/* Before the first match is added. Returns 0 or a negative errno. */
static inline int addressed_signals_drop(sd_bus *bus) {
        int r = sd_bus_add_filter(bus, NULL, on_addressed_signal, NULL);

        return r < 0 ? r : 0;
}
