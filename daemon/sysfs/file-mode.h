/* file-mode.h: finds the sysfs files that locks write-protect, and changes their modes.
 *
 * Owns nothing. Always holds: the file that is examined is the file that is changed, and both work
 * when all descriptors are used up, by those in reserve. */
#pragma once

#include "daemon/base/reserve.h"
#include "policy/function.h"
#include "policy/lock.h"

/* The path of the function's `file`, whether it is there or not; one that is apart is looked for.
 * Returns 0 with `*ret` to be freed with g_free(), -ENOENT when there is no slot, for example, or
 * another negative errno. */
int file_mode_path(const Function *function, LockFile file, Reserve *reserve, char **ret);

/* Whether the function's `file`, which was at `path` and is the node `inode`, is surely gone or
 * another one by now: the driver that makes it was bound anew. A slot is not looked for; its
 * `power` is another one when the function's slot has another name. */
bool file_mode_is_stale(const Function *function, LockFile file, Reserve *reserve, const char *path,
                        uint64_t inode);

/* What to watch for a change of the mode of `file` at `path`, which is apart: itself, or its
 * directory where nobody may read it, as inotify demands. Free with g_free(). */
char *file_mode_watched(LockFile file, const char *path);

/* Gives the file `mode` if it is still the node that `inode` names. Returns 0 or a negative errno,
 * -ENOENT if it is another node. */
int file_mode_set(const char *path, uint64_t inode, unsigned mode, Reserve *reserve);

/* The same for a file that was locked and had the mode `own` before: what an administrator has
 * changed since stays, see lock_file_own_mode(). */
int file_mode_unlock(const char *path, uint64_t inode, unsigned own, Reserve *reserve);
