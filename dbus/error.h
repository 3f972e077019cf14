/* error.h: the one table from failures to D-Bus errors. */
#pragma once

#include <systemd/sd-bus.h>

/* Longer messages are cut: a client's own words, or hundreds of blockers, may stand in one. In
 * bytes. */
#define BUS_ERROR_MAX 8192

/* Sets `error` to the D-Bus error that stands for the negative errno `r`, with a message for
 * people. Returns a negative number, to be returned by the method. */
int bus_error_set(sd_bus_error *error, int r, const char *format, ...)
        __attribute__((format(printf, 3, 4)));
