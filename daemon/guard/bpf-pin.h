/* bpf-pin.h: maps and rings of BPF programs that somebody else has loaded and pinned.
 *
 * Owns the calls of bpf(2), so that the daemon needs no library for them. They take no capability:
 * the directory of the pins is root's own (bpf_obj_get_user(), path_permission). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Opens what is pinned at `path`. Returns a descriptor or a negative errno. */
int bpf_open_pin(const char *path);

/* Each returns 0 or a negative errno. */
int bpf_map_set(int map, const void *key, const void *value);
int bpf_map_remove(int map, const void *key);
int bpf_map_get(int map, const void *key, void *ret_value);
/* The key after `key`, NULL: the first. -ENOENT after the last. */
int bpf_map_next_key(int map, const void *key, void *ret_key);
