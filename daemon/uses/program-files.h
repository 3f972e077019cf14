/* program-files.h: which functions one process uses by files that it has open.
 *
 * Owns the reading of one process's descriptors. Opens none of the files behind them, and asks no
 * file system about them: the name and the device number are the kernel's own knowledge. */
#pragma once

#include "daemon/uses/node-owners.h"
#include "daemon/uses/packet-sockets.h"
#include "policy/device-file.h"

#include <dirent.h>

typedef struct ProgramFile {
        PciKey key;
        UseKind kind;
        const char *name;    /* "uio0", "resource0", "config" */
        const char *program; /* "dpdk-testpmd" */
        uint32_t pid;
} ProgramFile;

typedef void ProgramFound(void *context, const ProgramFile *file);

typedef struct ProgramProcess {
        const char *proc; /* where procfs is; set by the caller, as the next six */
        uint32_t pid;
        pid_t thread; /* whose table is read; 0: the one that /proc/PID/fd shows */
        NodeOwners *nodes;
        GArray *sockets; /* of PacketSocket: those that it has open are noted */
        ProgramFound *found;
        void *context;
        ProcessStatus status;
        int fd; /* of its directory; set by program_open(), as the next */
        DIR *dir;
} ProgramProcess;

/* Whose a process is: a program that cannot be dumped belongs to root in procfs. Returns 0 or a
 * negative errno. */
int program_read_status(const char *proc, uint32_t pid, ProcessStatus *ret);

/* Opens the lists of the process and reads its status. Returns 0, or a negative errno. To be closed
 * in either case. */
int program_open(ProgramProcess *process);
void program_close(ProgramProcess *process);

/* Anybody can mount a file of sysfs or procfs on a path that ends like that of another one. So the
 * inode is compared with that of the file itself in the host's file system, which is the same in
 * each other sysfs and procfs (kernfs_ino(), the entry's `low_ino` in fs/proc/generic.c). */

/* `link` ends with the name of a file of the function at `key`. */
bool program_bar_is(const char *link, PciKey key, uint64_t inode);

/* Of a `link` that device_file_parse_proc() takes: whether `device` is the host's procfs; the
 * daemon has one of its own (ProcSubset=pid). */
bool program_is_in_proc(const char *proc, const char *link, dev_t device, uint64_t inode);

/* Calls `found` once for each file, after at most `max` descriptors; `*ret_n` is how many were
 * looked at. Returns 0; or a negative errno if some may be missing, as `found` was called for the
 * others. */
int program_read(ProgramProcess *process, unsigned max, unsigned *ret_n);
