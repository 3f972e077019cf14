/* stray-files.h: files that are write-protected and of which no record is left.
 *
 * Owns nothing. A run whose records are lost leaves files without a write bit, although the kernel
 * makes them with one. */
#pragma once

#include "daemon/guard/protected-files.h"

/* Unlocks such files of `function`, except those that `files` knows. Adds the paths to `paths`, and
 * to `failures` a text for each file that may be locked still. Both are of strings, owned, or
 * NULL. */
void stray_files_unlock(const ProtectedFiles *files, Reserve *reserve, const Function *function,
                        GPtrArray *paths, GPtrArray *failures);
