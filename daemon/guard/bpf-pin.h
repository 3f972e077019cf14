/* bpf-pin.h: maps, rings and programs of BPF that somebody else has loaded and pinned.
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

/* Attaches a program to what it was loaded for. Returns the descriptor of the link, which keeps it
 * attached, or a negative errno. */
int bpf_attach_program(int program);

/* Each returns 0 or a negative errno. */
int bpf_pin(int fd, const char *path);
int bpf_map_set(int map, const void *key, const void *value);
int bpf_map_remove(int map, const void *key);
int bpf_map_get(int map, const void *key, void *ret_value);
/* The key after `key`, NULL: the first. -ENOENT after the last. */
int bpf_map_next_key(int map, const void *key, void *ret_key);
