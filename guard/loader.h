/* loader.h: loads the programs of the kernel guard, pins them, and takes them away.
 *
 * Owns the table of which program serves which guard on which kernel. Always holds: a program that
 * this kernel refuses costs no other; what is pinned stays in force without any process. */
#pragma once

#include <stdbool.h>

/* Loads every program that this kernel takes, and pins maps and links in `directory`, which lies
 * in a BPF file system and is made. What an earlier run pinned there goes first. Writes a line for
 * each guard into `status`, see policy/kernel-guard.h. Returns 0, also when this kernel takes no
 * program, or a negative errno when the result cannot be written. */
int loader_load(const char *directory, const char *status);

/* Removes the pins, by which the programs go, and `status`. Returns 0 or a negative errno. */
int loader_unload(const char *directory, const char *status);
