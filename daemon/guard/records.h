/* records.h: what the guards write into state.json.
 *
 * Owns the form of four lists and what a valid record of each is. */
#pragma once

#include "daemon/base/files/state.h"
#include "policy/inhibitor.h"
#include "policy/operation.h"

/* A sysfs file that is write-protected. */
typedef struct StateFile {
        char *path;
        uint64_t inode;
        unsigned mode; /* own mode, 0..07777 */
} StateFile;

/* Frees a StateFile on the heap. */
void state_file_free(gpointer file);

typedef struct StateInhibitor {
        uint64_t number; /* under which systemd keeps its descriptor */
        PciKey *keys;    /* owned, at least one and each once */
        size_t n_keys;
        Inhibitor inhibitor; /* strings owned */
} StateInhibitor;

/* An operation whose process is in the kernel. */
typedef struct StateOperation {
        PciKey key;
        uint64_t inode;
        uint32_t pid;
        uint64_t start_time; /* of the process, in clock ticks after boot: a later one may have its
                                pid */
        uint64_t since_usec; /* CLOCK_REALTIME */
        Operation operation;
} StateOperation;

/* A device node that was write-protected. */
typedef struct StateNode {
        char *name; /* below /dev */
        uint64_t device;
        unsigned mode; /* before, 0..07777 */
} StateNode;

extern const StateSection protected_files_section;
extern const StateSection inhibitors_section;
extern const StateSection operations_section;
extern const StateSection device_nodes_section;
