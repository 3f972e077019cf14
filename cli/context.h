/* context.h: what one run of the command has at hand.
 *
 * Owns the options as given, the output and, once a verb has asked for it, the bus connection.
 * main.c makes the only one and hands it to the verb. */
#pragma once

#include "cli/output.h"

#include <stdbool.h>
#include <systemd/sd-bus.h>

typedef struct Context {
        const char *host; /* NULL for this one */
        bool json;
        bool legend;
        bool sriov; /* list: nothing but PFs and VFs */
        Output output;
        sd_bus *bus; /* NULL until client_connect() */
} Context;
