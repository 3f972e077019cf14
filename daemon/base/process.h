/* process.h: what /proc shows of one process.
 *
 * Owns nothing. docs/architecture.md has the table of the files and of the locks that reading them
 * waits for. `status`, `comm` and `cgroup` wait for no process. `stat` waits for an execve() of the
 * process (seen on 6.18), and `cmdline` for the process's memory, for as long as the process likes.
 * The event loop reads these two of the daemon's own processes only. Reading processes of other
 * users needs CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH. */
#pragma once

#include "policy/device-file.h"

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Longest command, in bytes. */
#define PROCESS_COMMAND_MAX 80

typedef struct ProcessFacts {
        pid_t parent;
        uint64_t start_time;
        uint32_t uid;  /* as ProcessStatus has it */
        char *comm;    /* its name, UTF-8 without control characters */
        char *unit;    /* systemd unit, "" none */
        char *machine; /* virtual machine, "" none */
} ProcessFacts;

void process_facts_clear(ProcessFacts *facts);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(ProcessFacts, process_facts_clear)

/* Whether `r`, a negative errno of a file below /proc/PID, says that the process has ended, or that
 * what the file shows, such as a descriptor, has gone. */
bool process_has_ended(int r);

/* Returns 0, or a negative errno: -ESRCH when there is no such process. Without `stat`, parent and
 * start time are 0. */
int process_read_facts(pid_t pid, bool stat, ProcessFacts *ret);

/* Whose it is, as ProcessStatus has it. Returns 0, or a negative errno. */
int process_read_uid(pid_t pid, uint32_t *ret);
int process_read_owner(pid_t pid, uint32_t *ret_uid, ProcessGroups *ret_groups);
int process_read_status(pid_t pid, ProcessStatus *ret);

/* The number of a thread whose descriptors and memory procfs, which is at `proc`, shows: `pid`
 * itself, or where that has ended, another. `status` is the process's. Returns 0; -ESRCH where all
 * have ended, or another negative errno. */
int process_find_thread(const char *proc, pid_t pid, const ProcessStatus *status, pid_t *ret);

/* The same, of a process whose status was not read yet, in /proc. */
int process_find_live_thread(pid_t pid, pid_t *ret);

/* The name and systemd unit of process `pid`; "" when it has ended. Both are the caller's. */
void process_describe(pid_t pid, char **ret_name, char **ret_unit);

/* The unit of the process that had this number when it was in the cgroup with the number `cgroup`,
 * which is 0 if that is not known. "" when it has ended, or when the process with this number is in
 * another one now: then it may not be the same. Free with g_free(). */
char *process_find_unit(pid_t pid, uint64_t cgroup);

/* When process `pid` was started, in clock ticks since boot: together with the pid it is that
 * process and no other. Returns 0, or a negative errno: -ESRCH when there is none. */
int process_read_start_time(pid_t pid, uint64_t *ret);

/* Whether process `pid`, a child of ours, is running or would if the processor was free: then it
 * does not hang. */
bool process_is_running(pid_t pid);

/* The words of its command line, each with its NUL. Returns their length, 0 for a process without
 * memory, or a negative errno. May hang. */
ssize_t process_read_command(pid_t pid, char *words, size_t size);

/* The beginning of the command line in `cmdline` as people read it: valid UTF-8, no control
 * characters, cut at a word's end to at most PROCESS_COMMAND_MAX bytes. Owned by the caller. */
char *process_format_command(const char *cmdline, size_t size);

/* The system's /dev. The unit's PrivateDevices= gives the daemon one of its own, in which nobody
 * opens anything (on s390 ReadOnlyPaths= makes it one that cannot be written); the system's is that
 * of process 1, which CAP_SYS_PTRACE opens the way to. */
const char *process_system_dev(void);
