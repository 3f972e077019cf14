/* stuck-children.h: children that were killed on behalf of a user, and have not ended.
 *
 * Owns them until they end. SIGKILL does not end a wait for a file system of a user (FUSE) that has
 * taken the question and does not answer (request_wait_answer() in fs/fuse/dev.c). Always holds:
 * nobody waits for them, and there are few, of one user and of all. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct StuckChildren StuckChildren;

StuckChildren *stuck_children_new(void);
StuckChildren *stuck_children_free(StuckChildren *children);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(StuckChildren, stuck_children_free)

/* The child `pid` was killed, and hangs because of a process of the user `uid`. */
void stuck_children_add(StuckChildren *children, pid_t pid, uint32_t uid);

/* Forgets those that have ended meanwhile. */
void stuck_children_reap(StuckChildren *children);

/* Whether no more children may be risked for processes of `uid`. Those of other users than root
 * leave room for root's. */
bool stuck_children_refuse(const StuckChildren *children, uint32_t uid);
