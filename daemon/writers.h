/* writers.h: which processes are in the middle of a write to sysfs that takes a function away.
 *
 * Owns nothing. Looks through /proc/PID/fd and opens nothing there. A writer has its file open for no longer than
 * the write takes, so whoever has one open for writing is writing, or about to. Called by outsiders.h. */
#pragma once

#include "policy/outside.h"

/* Looks at all processes once: some 20 microseconds for each. Returns OutsideWriter* by pid; free with
 * g_ptr_array_unref(). */
GPtrArray *writers_find(void);
