/* io-serve.h: `vfwarden io serve`, an I/O session for a program that connects to a path.
 *
 * Owns the socket at that path, and removes it at the end. */
#pragma once

#include "cli/context.h"
#include "cli/exit-code.h"

/* `arguments` are an address and perhaps a command. */
ExitCode io_serve(Context *context, char **arguments);
