/* device-file.h: files by which a program of userspace drives a PCI function without VFIO.
 *
 * Pure. A path alone proves nothing: a process can give its own files any name. Who uses it checks
 * what the file is. */
#pragma once

#include "policy/address.h"

#include <stdbool.h>
#include <stdint.h>

typedef enum DeviceFile {
        DEVICE_FILE_OTHER,
        DEVICE_FILE_UIO,      /* the character device of uio_pci_generic, igb_uio and others */
        DEVICE_FILE_RESOURCE, /* resourceN in sysfs, which maps a BAR (pci_create_attr()) */
        DEVICE_FILE_CONFIG,   /* configuration space in sysfs; counts when it is open for writing */
        _DEVICE_FILE_MAX,
} DeviceFile;

/* What a link in /proc/PID/fd may lead to. */
DeviceFile device_file_parse(const char *link);

/* "/proc/bus/pci/00/03.0" or "/proc/bus/pci/0001:00/03.0", by which configuration space is written,
 * and BARs are mapped, without sysfs (drivers/pci/proc.c). A container may have its procfs in
 * another folder. Returns false, with `*ret` untouched, for every other path. */
bool device_file_parse_proc(const char *link, PciAddress *ret);

/* A process, as the beginning of /proc/PID/status tells. */
typedef struct ProcessStatus {
        uint32_t uid; /* of who started it: the real one, unless that is root; then the effective
                         one. A program with the set-user-ID bit has its user's descriptors. */
        bool ended;   /* its first thread has, or is about to, by which /proc/PID has no descriptors
                         and no memory; but others may go on (pthread_exit(3)) */
        char name[64];
} ProcessStatus;

/* Returns 0, or -EBADMSG for what is no such text. The name keeps the kernel's escapes. */
int process_status_parse(const char *text, ProcessStatus *ret);

#define PROCESS_GROUPS_MAX 64

/* The groups that a process is in, as the same text tells. Supplementary groups ascend
 * (groups_sort() in kernel/groups.c), so a list that was cut still answers for those before its
 * end. */
typedef struct ProcessGroups {
        uint32_t n;
        bool cut;     /* it may be in others ... */
        uint32_t end; /* ... from this one on */
        uint32_t gids[PROCESS_GROUPS_MAX];
} ProcessGroups;

void process_groups_parse(const char *text, ProcessGroups *ret);
bool process_groups_may_contain(const ProcessGroups *groups, uint32_t gid);
