/* kernel-maps.h: the maps of the kernel guard's programs.
 *
 * Owns the descriptors of what vfwarden-guard has pinned. What is written stays in force when the
 * daemon ends, like the mode of a file. Each function returns 0 or a negative errno. */
#pragma once

#include "daemon/guard/bpf-ring.h"
#include "policy/guard-layout.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct KernelMaps KernelMaps;

int kernel_maps_open(const char *directory, KernelMaps **ret);
KernelMaps *kernel_maps_free(KernelMaps *maps);

int kernel_maps_set_settings(KernelMaps *maps, const GuardSettings *settings);

/* `value` NULL: the file with this inode is none of the guard's. */
int kernel_maps_set_file(KernelMaps *maps, uint64_t inode, const GuardFile *value);

/* `value` NULL: not guarded. The module: whether it is not to be unloaded. */
int kernel_maps_set_function(KernelMaps *maps, const char *address, const GuardFunction *value);
int kernel_maps_set_module(KernelMaps *maps, const char *module, bool guarded);

/* The thread `pid` passes from now on, until it ends; a child of it does not. */
int kernel_maps_exempt(KernelMaps *maps, pid_t pid);

/* An entry of a map, by its key: exactly one of these is given, the others are NULL or 0. */
typedef struct KernelMapsKey {
        const char *address, *module;
        uint64_t inode;
} KernelMapsKey;

/* Removes the entries that `is_wanted` does not know: those of an earlier run. */
typedef bool KernelMapsWanted(void *context, const KernelMapsKey *key);
void kernel_maps_sweep(KernelMaps *maps, KernelMapsWanted *is_wanted, void *context);

/* How many events have found no room for them since the programs were loaded. */
uint64_t kernel_maps_lost(const KernelMaps *maps);

/* The reader of the events, GuardEvent each. */
int kernel_maps_read_events(const char *directory, sd_event *event, BpfRingHandler *handler,
                            void *context, BpfRing **ret);
