/* absence.h: what a failed read says about the thing that was to be read.
 *
 * Owns nothing. Always holds: only what was looked for and not found is absent. A reader that could
 * not look (no descriptor, no memory, no permission, a broken disk) knows nothing new, keeps its
 * last knowledge and looks again. Otherwise a tenant who uses up the daemon's descriptors could
 * make the daemon forget what is locked. */
#pragma once

#include <stdbool.h>

/* Whether `r`, a negative errno, says that there is no such thing (any more): -ENOENT; -ENODEV,
 * which sysfs answers once the device has gone (kernfs_fop_read_iter()); -ENXIO. */
bool errno_means_absent(int r);

/* Whether `r` says that the thing is there and is not what the kernel makes: a directory for a
 * file, a link for an attribute, a value that is too long. Looking again shows the same. */
bool errno_means_malformed(int r);

/* Whether the reader itself lacks descriptors or memory. Then nothing that was not seen is known to
 * be absent. */
bool errno_means_lack(int r);
