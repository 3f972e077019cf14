/* program-watch.h: tells that a program may have opened or closed a file by which it drives a
 * function.
 *
 * Owns the watches (inotify) on the BARs of all functions, and on folders of /dev that have nodes
 * of devices only; and a timer that runs while there is a uio device, or a use whose end no event
 * tells. A node itself cannot be watched: that takes the permission to read it
 * (inode_permission()), which the daemon has for VFIO's alone (DevicePolicy=closed). /dev is not
 * watched, for /dev/null is opened all the time. Configuration space is not watched, for each list
 * of devices opens that of all. While the kernel refuses inotify (fs.inotify.max_user_instances) or
 * a watch (fs.inotify.max_user_watches), the timer runs, too, and both are tried again when it
 * ends. */
#pragma once

#include <stdbool.h>

typedef struct ProgramWatch ProgramWatch;

/* `proc` is where procfs is, and is borrowed. Returns 0, or a negative errno. It lives as long as
 * the process. */
int program_watch_new(const char *proc, ProgramWatch **ret);

/* To be polled for POLLIN. That of inotify is -1 until program_watch_all() has got one; it does not
 * change after that. */
int program_watch_inotify(const ProgramWatch *watch);
int program_watch_uevents(const ProgramWatch *watch);
int program_watch_timer(const ProgramWatch *watch);

/* Takes what has come on one of the three. Returns whether a program may have opened or closed
 * something. */
bool program_watch_take(ProgramWatch *watch, int fd);

/* What the last look has found: uses that stand against operations, and such as are warnings, whose
 * end no event tells. */
void program_watch_set_endless(ProgramWatch *watch, bool stands, bool warns);

/* Of what of inotify's there is too little, for people: what is opened is seen only when the timer
 * ends. NULL: there is enough. */
const char *program_watch_lack(const ProgramWatch *watch);

/* Watches all that there is and is not watched yet. */
void program_watch_all(ProgramWatch *watch);
