/* adopted-files.h: the files that an earlier run has locked, until somebody plans for them.
 *
 * Owns their records. Touches no file but in adopted_files_unlock(). */
#pragma once

#include "daemon/base/reserve.h"

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct StateFile StateFile;
typedef struct AdoptedFiles AdoptedFiles;

AdoptedFiles *adopted_files_new(void);
AdoptedFiles *adopted_files_free(AdoptedFiles *adopted);

/* `records` are of StateFile, see records.h. */
void adopted_files_add(AdoptedFiles *adopted, const GArray *records);
void adopted_files_record(const AdoptedFiles *adopted, GArray *records);

/* Gives up the record of the file. Returns whether there was one, of this inode. */
bool adopted_files_take(AdoptedFiles *adopted, const char *path, uint64_t inode,
                        unsigned *ret_mode);

/* Appends the path of each to `paths` (strings, owned). */
void adopted_files_list(const AdoptedFiles *adopted, GPtrArray *paths);

/* The file cannot be unlocked, for the reason `error` (negative errno). */
typedef void AdoptedFilesFailed(void *context, const StateFile *record, int error);

/* Unlocks all, and gives up their records. Returns whether there were any. */
bool adopted_files_unlock(AdoptedFiles *adopted, Reserve *reserve, AdoptedFilesFailed *failed,
                          void *context);
