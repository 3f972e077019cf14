/* maps.bpf.h: the maps of the programs, which vfwarden-guard pins.
 *
 * Owns their definitions; policy/guard-layout.h has the layout of keys and values, and who writes
 * them. */
#pragma once

#include "policy/guard-layout.h"

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

struct {
        __uint(type, BPF_MAP_TYPE_ARRAY);
        __uint(max_entries, 1);
        __type(key, __u32);
        __type(value, GuardSettings);
        __uint(pinning, LIBBPF_PIN_BY_NAME);
} settings SEC(".maps");

struct {
        __uint(type, BPF_MAP_TYPE_HASH);
        __uint(map_flags, BPF_F_NO_PREALLOC);
        __uint(max_entries, GUARD_FILES_MAX);
        __type(key, __u64);
        __type(value, GuardFile);
        __uint(pinning, LIBBPF_PIN_BY_NAME);
} files SEC(".maps");

typedef struct FunctionName {
        char text[GUARD_NAME_MAX];
} FunctionName;

struct {
        __uint(type, BPF_MAP_TYPE_HASH);
        __uint(map_flags, BPF_F_NO_PREALLOC);
        __uint(max_entries, GUARD_FUNCTIONS_MAX);
        __type(key, FunctionName);
        __type(value, GuardFunction);
        __uint(pinning, LIBBPF_PIN_BY_NAME);
} functions SEC(".maps");

typedef struct ModuleName {
        char text[GUARD_MODULE_MAX];
} ModuleName;

struct {
        __uint(type, BPF_MAP_TYPE_HASH);
        __uint(map_flags, BPF_F_NO_PREALLOC);
        __uint(max_entries, GUARD_MODULES_MAX);
        __type(key, ModuleName);
        __type(value, __u32);
        __uint(pinning, LIBBPF_PIN_BY_NAME);
} modules SEC(".maps");

/* Tasks that pass. The entry goes with the task, so no later process inherits it by its pid. */
struct {
        __uint(type, BPF_MAP_TYPE_TASK_STORAGE);
        __uint(map_flags, BPF_F_NO_PREALLOC);
        __type(key, int);
        __type(value, __u32);
        __uint(pinning, LIBBPF_PIN_BY_NAME);
} exempt SEC(".maps");

struct {
        __uint(type, BPF_MAP_TYPE_RINGBUF);
        __uint(max_entries, GUARD_EVENTS_SIZE);
        __uint(pinning, LIBBPF_PIN_BY_NAME);
} events SEC(".maps");

struct {
        __uint(type, BPF_MAP_TYPE_ARRAY);
        __uint(max_entries, GUARD_COUNTERS_MAX);
        __type(key, __u32);
        __type(value, __u64);
        __uint(pinning, LIBBPF_PIN_BY_NAME);
} counters SEC(".maps");
