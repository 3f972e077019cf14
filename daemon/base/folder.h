/* folder.h: what is in a folder. */
#pragma once

/* Returns 0 or a negative errno, which ends the visit. */
typedef int FolderVisit(void *context, const char *name);

/* Calls `visit` for each entry but those that begin with a dot; a folder that is not there has
 * none. Returns 0, or a negative errno: of `visit`, or of the folder, which is then not known to
 * have no more. */
int folder_foreach(const char *path, FolderVisit *visit, void *context);
