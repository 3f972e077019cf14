/* protected-files.h: the sysfs files that are write-protected, by their mode bits.
 *
 * Owns which file is locked on which function's behalf, and each one's own mode. A file without a
 * write bit refuses write opens of root, too, in every mount of sysfs and every network namespace,
 * because kernfs requires a write bit (kernfs_fop_open(), KERNFS_ROOT_EXTRA_OPEN_PERM_CHECK); reads
 * go on. Always holds: a file is locked here only after it was recorded, with the own mode that an
 * administrator gave it last. So a caller that saves the records between protected_files_plan() and
 * protected_files_commit() finds every own mode again after a crash. A slot's `power` may be locked
 * for several functions, and is unlocked when the last one needs no lock. */
#pragma once

#include "daemon/base/problems.h"
#include "daemon/base/reserve.h"
#include "daemon/sysfs/watch.h"
#include "policy/inventory.h"
#include "policy/lock.h"

typedef struct ProtectedFiles ProtectedFiles;

typedef struct ProtectedFilesHandler {
        /* A locked file was found with a write bit, `mode`; it is locked again by now, if that is
         * possible. */
        void (*violation)(void *context, PciKey key, LockFile file, const char *path,
                          unsigned mode);
        /* A file that is to be locked on the function's behalf was locked, or can no longer be. */
        void (*changed)(void *context, PciKey key);
        /* The file with this inode is write-protected from now on, or is about to be unlocked. */
        void (*marked)(void *context, PciKey key, const char *path, uint64_t inode, bool locked);
        /* protected_files_record() records something else than before. */
        void (*record_changed)(void *context);
} ProtectedFilesHandler;

ProtectedFiles *protected_files_new(Watch *watch, Problems *problems, Reserve *reserve,
                                    const ProtectedFilesHandler *handler, void *context);
ProtectedFiles *protected_files_free(ProtectedFiles *files);

/* Takes over the records of an earlier run. Their files stay as they are until planned for, or
 * until protected_files_drop_adopted() opens those that nobody planned for. */
void protected_files_adopt(ProtectedFiles *files, const GArray *records);
void protected_files_drop_adopted(ProtectedFiles *files);

/* Says which files (1 << LockFile) of `function` are to be locked, all others not. Files that the
 * function does not have are passed over. Returns 0, or a negative errno when that is unknown: the
 * caller plans again later. Locked files stay locked meanwhile. */
int protected_files_plan(ProtectedFiles *files, const Function *function, unsigned wanted);

/* `records` are of StateFile, see records.h. */
void protected_files_record(ProtectedFiles *files, GArray *records);

/* Does what was planned. A failure is logged, and the file is tried again at the next plan. */
void protected_files_commit(ProtectedFiles *files);

/* The files (1 << LockFile) of the function that are locked on its behalf now. */
unsigned protected_files_mask(const ProtectedFiles *files, PciKey key);

/* Opens `path` for writing, be it locked or not: the bit is restored for the moment of the open,
 * and removed again before an event is handled. Returns a descriptor that the caller closes, or a
 * negative errno. */
int protected_files_open_for_writing(ProtectedFiles *files, const char *path);

/* The function is gone, and its files with it; a slot's `power` opens if nobody else holds it. */
void protected_files_forget(ProtectedFiles *files, PciKey key);

/* The file `name` of the function changed its mode, perhaps. The caller watches the functions'
 * directories: watching such a file itself would need the right to read it, which nobody has for
 * `reset`. Files that are apart (lock_file_is_apart()) are watched here. */
void protected_files_touched(ProtectedFiles *files, PciKey key, const char *name);

/* Looks at every locked file as if a change of its mode had been reported: for changes made through
 * another mount of sysfs, of which inotify hears nothing. */
void protected_files_check(ProtectedFiles *files);

/* Unlocks what an earlier run locked and nobody planned for, and tries once more to unlock what
 * could not be: nothing is to be locked. */
void protected_files_unlock_rest(ProtectedFiles *files);

/* Whether the file is locked on some function's behalf, or has a record because it was. */
bool protected_files_know(const ProtectedFiles *files, const char *path);

/* Whether a file could not be looked at, or its mode not be changed: protected_files_check() tries
 * again. */
bool protected_files_failing(const ProtectedFiles *files);

/* Why the last attempt at this file failed: a negative errno, or 0. */
int protected_files_error(const ProtectedFiles *files, const char *path);

bool protected_files_any(const ProtectedFiles *files);

/* The paths of all files that are locked now, also by an earlier run. Free with
 * g_ptr_array_unref(). */
GPtrArray *protected_files_list(const ProtectedFiles *files);
