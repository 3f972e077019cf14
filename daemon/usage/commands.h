/* commands.h: the command lines of processes, read by a process of their own.
 *
 * Owns that process (scanner.h) and the questions. To read /proc/PID/cmdline takes the lock of the
 * process's memory (access_remote_vm() in mm/memory.c) and its pages, which it may have mapped from
 * a file system that never answers. So a command line is reported when it is there. Until then, or
 * if it never comes, a process is shown by its name. After one that hangs, none of that user is
 * read for UID_PENALTY_USEC: each costs a process that cannot be ended. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

typedef struct Commands Commands;

/* `command` as of process_format_command(), or NULL: it has none, or none that can be read. One
 * that is there a little later is reported then. */
typedef void CommandsHandler(void *context, pid_t pid, const char *command);

/* Returns 0, or a negative errno. */
int commands_new(sd_event *event, CommandsHandler *handler, void *context, Commands **ret);
Commands *commands_free(Commands *commands);

/* Asks for the command line of the process. The answer never comes from within. Returns false when
 * none will come. */
bool commands_ask(Commands *commands, pid_t pid, uint64_t start_time, uint32_t uid);
