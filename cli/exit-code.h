/* exit-code.h: how the command ends.
 *
 * Owns the two tables that scripts rely on: what each exit code means, and which one a failed call
 * gives. The codes are part of the command's contract (vfwarden(1)): new ones are added at the end,
 * none is ever renumbered. */
#pragma once

#include <systemd/sd-bus.h>

typedef enum ExitCode {
        EXIT_CODE_DONE = 0,
        EXIT_CODE_FAILED = 1,
        EXIT_CODE_USAGE = 2,
        EXIT_CODE_NO_SUCH_FUNCTION = 3,
        EXIT_CODE_ACCESS_DENIED = 4,
        EXIT_CODE_UNREACHABLE = 5,
        EXIT_CODE_REFUSED = 6,
        EXIT_CODE_BUSY = 7,
        EXIT_CODE_TIMED_OUT = 8,
        EXIT_CODE_GONE = 9,
        EXIT_CODE_NOT_SUPPORTED = 10,
        EXIT_CODE_UNFINISHED = 11,
        _EXIT_CODE_MAX,
} ExitCode;

/* What `code` means, for a person; a static string. */
const char *exit_code_description(ExitCode code);

/* The D-Bus error that says the same; a static string. Not for EXIT_CODE_DONE. */
const char *exit_code_error_name(ExitCode code);

/* The exit code of a call that failed with `error`, or with the negative errno `r` where the bus
 * gave no error name. Never EXIT_CODE_DONE. */
ExitCode exit_code_from_failure(const sd_bus_error *error, int r);
