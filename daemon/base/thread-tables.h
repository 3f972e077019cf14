/* thread-tables.h: the threads of a process that have descriptors of their own.
 *
 * Owns one search. The threads of a process share a table of descriptors, and /proc/PID/fd shows
 * that of the first thread. A thread can leave it by unshare(CLONE_FILES), or close_range(2), and
 * what it opens then is in /proc/PID/task/TID/fd alone. kcmp(2) tells whether two threads have one
 * table. It waits for exec_update_lock, which an execve(2) may keep for as long as another process
 * likes; but that takes the lock when all other threads have ended (begin_new_exec() in fs/exec.c).
 * So a comparison of threads of one process waits only if the execve(2) begins at that moment.
 * Who compares is nevertheless a process that somebody watches. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <sys/types.h>

typedef struct ThreadTables ThreadTables;

/* Called before two threads are compared. */
typedef void ThreadTablesCompared(void *context, pid_t pid, pid_t thread);

/* Looks for the threads of `pid`, in the procfs at `proc`, that do not have the table of `thread`,
 * one of them. `compared` NULL: without kcmp(2); then all others count as having one of their own.
 * Returns 0, with `*ret` NULL where there is no other thread or no such process; or a negative
 * errno. */
int thread_tables_open(const char *proc, pid_t pid, pid_t thread, ThreadTablesCompared *compared,
                       void *context, ThreadTables **ret);
ThreadTables *thread_tables_free(ThreadTables *tables);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ThreadTables, thread_tables_free)

/* Goes on with at most `max` threads. Returns 1 if there may be more, and a negative errno where
 * the threads cannot be listed; else 0. -EOVERFLOW: many more threads began meanwhile than there
 * were, so the search would not end; call it no more. `*ret` is a thread whose table no thread
 * before it had; 0: none was found yet. */
int thread_tables_next(ThreadTables *tables, unsigned max, pid_t *ret);
