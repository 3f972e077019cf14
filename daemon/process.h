/* process.h: what is known of one process that holds devices.
 *
 * Owns a pidfd, so that a process that takes over the pid is never taken for it, and a descriptor of its
 * directory in /proc, through which all of it is read: reads through that one fail once the
 * process is gone. Reading processes of other users needs CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH.
 * Called by users.h. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct Process {
        pid_t pid;
        int pidfd; /* readable once it has ended */
        int procfd;
        uint32_t uid;  /* effective */
        char *command; /* its first words, UTF-8 without control characters, "" unknown */
        char *unit;    /* systemd unit, "" none */
        char *machine; /* virtual machine, "" none */
} Process;

/* Longest command, in bytes. */
#define PROCESS_COMMAND_MAX 80

/* Opens /proc/PID. Returns a descriptor, or a negative errno: -ENOENT or -ESRCH when there is no such process. */
int process_open_directory(pid_t pid);

/* The command and systemd unit of process `pid`, as a Process has them; "" when it has ended. Both are the caller's. */
void process_describe(pid_t pid, char **ret_command, char **ret_unit);

/* Makes a Process of the one whose directory `procfd` is; takes over `procfd` in any case. Returns 0, or a
 * negative errno: -ESRCH when it has ended. */
int process_new(pid_t pid, int procfd, Process **ret);
Process *process_free(Process *process);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Process, process_free)

/* A program calls exec(), a manager moves it to its unit: reads command, uid and unit again. Returns whether
 * any is another; of a process that has ended nothing changes. */
bool process_refresh(Process *process);

/* When the process was started, in clock ticks after boot: with the pid, that tells it from any later one. Returns 0, or
 * a negative errno: -ESRCH when there is none. */
int process_read_start_time(pid_t pid, uint64_t *ret);

/* What a bounded part of /proc/PID/cmdline (`size` bytes, arguments end with NUL) is shown as. Free with g_free(). */
char *process_format_command(const char *cmdline, size_t size);
