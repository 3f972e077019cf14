/* watch.h: tells when a file in sysfs is written to or its mode changes, by inotify.
 *
 * Owns the inotify descriptor and the list of what is watched. A watch is on the node, not the
 * name: it must be removed when the function goes, for the kernel keeps it otherwise. sysfs sends
 * no event when a driver changes a value, only when a process writes to the file or changes its
 * mode. */
#pragma once

#include <stdint.h>
#include <systemd/sd-event.h>

typedef struct Watch Watch;

/* Called with the `userdata` of watch_add(). `name` is the file's name where a directory is
 * watched, else "". */
typedef void WatchHandler(void *context, void *userdata, const char *name);

/* `overflow` is called when events were lost (IN_Q_OVERFLOW): all that is watched must be looked
 * at. Returns 0 or a negative errno. */
int watch_new(sd_event *event, void (*overflow)(void *context), void *context, Watch **ret);
Watch *watch_free(Watch *watch);

/* Calls `handler` when `mask` (IN_ATTRIB, IN_MODIFY) happens to `path`, or to a file in it if it is
 * a directory. A node can be watched once only. Returns the watch's number, 0 or more, for
 * watch_remove(), or a negative errno: -ENOENT without such a file, -ENOSPC when
 * fs.inotify.max_user_watches is reached. */
int watch_add(Watch *watch, const char *path, uint32_t mask, WatchHandler *handler, void *context,
              void *userdata);

/* Ends a watch; a negative number is no watch. */
void watch_remove(Watch *watch, int number);
