/* enforcement.h: what is enforced: the configuration when it is read again, and release-all.
 *
 * Owns the requests of both kinds that are not answered yet. Always holds: new rules are in force
 * for every event from the begin of a request on; the files of all functions follow in slices; and
 * the request is answered when all of them have. So after the begin of a release no file is locked,
 * and of two requests the last one counts. The begin or the end of a release is saved first: then
 * the next daemon does the rest. */
#pragma once

#include "daemon/manager/lasting-requests.h"

typedef struct Enforcement Enforcement;

/* All is borrowed. */
Enforcement *enforcement_new(Apply *apply, Settings *settings, Publisher *publisher,
                             LastingRequests *lasting);
Enforcement *enforcement_free(Enforcement *enforcement);

/* See the functions of the manager with the same name. */
void enforcement_reload(Enforcement *enforcement, ManagerDone *done, void *context);
void enforcement_release_all(Enforcement *enforcement, ManagerReleased *done, void *context);
void enforcement_end_release(Enforcement *enforcement);

/* The daemon ends: those that are not done yet end with -ECANCELED. */
void enforcement_end_calls(Enforcement *enforcement, const char *why);
