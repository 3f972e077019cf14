/* standard-streams.h: descriptors 0 to 2 are open in every program of the project.
 *
 * Owns nothing. Always holds after the first call in main(): no descriptor that the program opens
 * later has one of these numbers. Otherwise the bus connection, or a function's device, would get
 * what the program prints (`vfwarden status >&-`). */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* A closed descriptor is opened on /dev/null in the direction that the program does not use, as
 * coreutils do: what is printed to it fails with EBADF, and the failure is reported. Returns 0 or a
 * negative errno. */
static inline int standard_streams_open(void) {
        for (int wanted = STDIN_FILENO; wanted <= STDERR_FILENO; wanted++) {
                int fd;

                if (fcntl(wanted, F_GETFD) >= 0)
                        continue;
                /* The lowest free number is `wanted`, since all below are open. */
                fd = open("/dev/null", wanted == STDIN_FILENO ? O_WRONLY : O_RDONLY);
                if (fd < 0)
                        return -errno;
        }
        return 0;
}
