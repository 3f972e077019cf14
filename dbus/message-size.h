/* message-size.h: how many bytes a message takes on the bus. sd-bus does not tell. */
#pragma once

#include <stddef.h>
#include <systemd/sd-bus.h>

/* The bytes of the body of `message`, which has been sent, padding included: the D-Bus
 * specification, "Marshaling". 0 when it cannot be read. Reads all of it, from the start. */
size_t message_body_size(sd_bus_message *message);
