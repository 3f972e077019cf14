#include "daemon/guard/protected-files.h"

#include "daemon/base/log.h"
#include "daemon/base/util.h"
#include "daemon/guard/adopted-files.h"
#include "daemon/guard/records.h"
#include "daemon/sysfs/file-mode.h"
#include "policy/absence.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#define WRITE_BITS 0222U

/* A holder is one function's wish for one of its files: PciKey << 4 | LockFile. */
typedef uint64_t Holder;
G_STATIC_ASSERT(_LOCK_FILE_MAX <= 16);

typedef struct ProtectedFile {
        char *path;
        LockFile which;
        uint64_t inode;
        unsigned own_mode;
        GArray *holders; /* of Holder; the file is locked while there is one */
        bool locked;     /* by us, as far as we know */
        int error; /* negative errno of the last attempt to look at it, or to change its mode */
        int watch; /* of one that is apart: number, or -1 */
} ProtectedFile;

struct ProtectedFiles {
        Watch *watch;
        Problems *problems;
        Reserve *reserve;
        const ProtectedFilesHandler *handler;
        void *context;
        GHashTable *by_path;   /* path -> ProtectedFile*, owned */
        GHashTable *by_holder; /* Holder -> ProtectedFile*, borrowed */
        AdoptedFiles *adopted; /* NULL after start */
        GPtrArray *pending;    /* borrowed ProtectedFile*, to be committed */
        unsigned n_failing;
};

static Holder holder_make(PciKey key, LockFile file) {
        return key << 4 | (Holder) file;
}

static ProtectedFile *protected_file_new(LockFile which, uint64_t inode, unsigned own_mode) {
        ProtectedFile *file = g_new0(ProtectedFile, 1);

        *file = (ProtectedFile){
                .which = which, .inode = inode, .own_mode = own_mode, .watch = -1
        };
        file->holders = g_array_new(FALSE, FALSE, sizeof(Holder));
        return file;
}

static void protected_file_free(gpointer data) {
        ProtectedFile *file = data;

        g_free(file->path);
        g_array_unref(file->holders);
        g_free(file);
}

ProtectedFiles *protected_files_new(Watch *watch, Problems *problems, Reserve *reserve,
                                    const ProtectedFilesHandler *handler, void *context) {
        ProtectedFiles *files = g_new0(ProtectedFiles, 1);

        *files = (ProtectedFiles){ .watch = watch,
                                   .problems = problems,
                                   .reserve = reserve,
                                   .handler = handler,
                                   .context = context };
        files->by_path = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, protected_file_free);
        files->by_holder = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
        files->adopted = adopted_files_new();
        files->pending = g_ptr_array_new();
        return files;
}

ProtectedFiles *protected_files_free(ProtectedFiles *files) {
        if (!files)
                return NULL;
        g_hash_table_unref(files->by_path);
        g_hash_table_unref(files->by_holder);
        adopted_files_free(files->adopted);
        g_ptr_array_unref(files->pending);
        g_free(files);
        return NULL;
}

void protected_files_adopt(ProtectedFiles *files, const GArray *records) {
        adopted_files_add(files->adopted, records);
}

static void mark(const ProtectedFiles *files, const ProtectedFile *file, bool locked) {
        PciKey key = file->holders->len > 0 ? g_array_index(file->holders, Holder, 0) >> 4 : 0;

        files->handler->marked(files->context, key, file->path, file->inode, locked);
}

static void forget_file(ProtectedFiles *files, ProtectedFile *file) {
        g_autofree char *key = g_strconcat("file ", file->path, NULL);
        g_autofree char *watch_key = g_strconcat("watch ", file->path, NULL);

        problems_resolve(files->problems, key);
        problems_resolve(files->problems, watch_key);
        mark(files, file, false);
        watch_remove(files->watch, file->watch);
        files->n_failing -= file->error < 0;
        while (g_ptr_array_remove_fast(files->pending, file)) {
        }
        g_hash_table_remove(files->by_path, file->path);
        files->handler->record_changed(files->context);
}

/* The entry for `path`, made if need be from what is seen and what is known of earlier. */
static int protected_file_get(ProtectedFiles *files, char *path, LockFile which,
                              ProtectedFile **ret) {
        g_autofree char *owned = path;
        ProtectedFile *file;
        struct stat st;
        unsigned mode;
        bool held;

        file = g_hash_table_lookup(files->by_path, path);
        held = file && file->holders->len > 0;
        if (!held && lstat(path, &st) < 0)
                return -errno;
        /* One that could not be opened again is taken up, if it is the same still. */
        if (held || (file && file->inode == st.st_ino)) {
                *ret = file;
                return 0;
        }
        if (file)
                forget_file(files, file);
        if (!S_ISREG(st.st_mode))
                return -ENOENT;

        file = protected_file_new(which, st.st_ino, st.st_mode & 07777U);
        if (files->adopted && adopted_files_take(files->adopted, path, st.st_ino, &mode)) {
                file->own_mode = lock_file_own_mode(mode, st.st_mode & 0777U);
                file->locked = true; /* if it is not: somebody opened it while we were away */
        } else if (files->adopted && (st.st_mode & WRITE_BITS) == 0)
                file->own_mode = lock_file_kernel_mode(which);

        file->path = g_steal_pointer(&owned);
        g_hash_table_insert(files->by_path, file->path, file);
        files->handler->record_changed(files->context);
        *ret = file;
        return 0;
}

static void unlock_for(ProtectedFiles *files, PciKey key, LockFile which) {
        Holder holder = holder_make(key, which);
        ProtectedFile *file = g_hash_table_lookup(files->by_holder, &holder);

        if (!file)
                return;
        g_hash_table_remove(files->by_holder, &holder);
        for (guint i = 0; i < file->holders->len; i++)
                if (g_array_index(file->holders, Holder, i) == holder) {
                        g_array_remove_index(file->holders, i);
                        break;
                }
        g_ptr_array_add(files->pending, file);
}

/* Returns 0, also where there is no such file, or a negative errno when that is unknown. */
static int hold(ProtectedFiles *files, const Function *function, LockFile which) {
        Holder holder = holder_make(function->facts.key, which);
        ProtectedFile *file = g_hash_table_lookup(files->by_holder, &holder);
        char *path = NULL;
        int r;

        if (file && file_mode_is_stale(function, which, files->reserve, file->path, file->inode)) {
                unlock_for(files, function->facts.key, which);
                file = NULL;
        }
        if (file) {
                if (!file->locked)
                        g_ptr_array_add(files->pending, file); /* it failed the last time */
                return 0;
        }
        r = file_mode_path(function, which, files->reserve, &path);
        if (r >= 0)
                r = protected_file_get(files, path, which, &file);
        if (r < 0 || !file)
                return errno_means_absent(r) ? 0 : r;
        g_array_append_val(file->holders, holder);
        g_hash_table_insert(files->by_holder, g_memdup2(&holder, sizeof(holder)), file);
        g_ptr_array_add(files->pending, file);
        return 0;
}

int protected_files_plan(ProtectedFiles *files, const Function *function, unsigned wanted) {
        int failed = 0, r;

        for (LockFile which = 0; which < _LOCK_FILE_MAX; which++)
                if (!(wanted & (1U << which)))
                        unlock_for(files, function->facts.key, which);
                else if ((r = hold(files, function, which)) < 0)
                        failed = r;
        return failed;
}

void protected_files_record(ProtectedFiles *files, GArray *records) {
        const ProtectedFile *file;
        GHashTableIter iter;

        g_hash_table_iter_init(&iter, files->by_path);
        while (g_hash_table_iter_next(&iter, NULL, (gpointer *) &file)) {
                StateFile record = { g_strdup(file->path), file->inode, file->own_mode };

                g_array_append_val(records, record);
        }
        if (files->adopted) /* unread functions must lose nothing */
                adopted_files_record(files->adopted, records);
}

/* The result of an attempt at the file: `r` is 0 or a negative errno, `what` was to be done. */
static void note(ProtectedFiles *files, ProtectedFile *file, int r, const char *what) {
        g_autofree char *key = g_strconcat("file ", file->path, NULL);

        if ((file->error < 0) != (r < 0))
                files->n_failing += r < 0 ? 1U : -1U;
        file->error = r;
        if (r < 0)
                problems_report(files->problems, key, "Failed to %s %s: %s", what, file->path,
                                g_strerror(-r));
        else
                problems_resolve(files->problems, key);
}

static void write_protect(ProtectedFiles *files, ProtectedFile *file, bool waits);

static void set_locked(ProtectedFiles *files, ProtectedFile *file, bool locked) {
        mark(files, file, locked);
        if (file->locked == locked)
                return;
        file->locked = locked;
        for (guint i = 0; i < file->holders->len; i++)
                files->handler->changed(files->context,
                                        g_array_index(file->holders, Holder, i) >> 4);
}

static void on_attribute(void *context, void *userdata, const char *name) {
        write_protect(context, userdata, true);
}

static void watch_apart(ProtectedFiles *files, ProtectedFile *file) {
        g_autofree char *watched = file_mode_watched(file->which, file->path);
        g_autofree char *key = g_strconcat("watch ", file->path, NULL);

        watch_remove(files->watch, file->watch);
        file->watch = watch_add(files->watch, watched, IN_ATTRIB, on_attribute, files, file);
        /* It is looked at every few seconds besides, and then watched if that is possible. */
        if (file->watch < 0 && !errno_means_absent(file->watch))
                problems_report(files->problems, key,
                                "Failed to watch %s, changes are seen late: %s", file->path,
                                g_strerror(-file->watch));
        else
                problems_resolve(files->problems, key);
}

/* What is apart can be made anew while the function stays (the slot's driver was loaded again), and
 * no event reports it: the new file takes the place of the old. */
static void adopt_new_node(ProtectedFiles *files, ProtectedFile *file, const struct stat *st) {
        set_locked(files, file, false);
        file->inode = st->st_ino;
        file->own_mode = st->st_mode & 07777U;
        files->handler->record_changed(files->context);
        watch_apart(files, file);
}

/* The mode that it gets when it is unlocked. Returns whether that is another than before. */
static bool note_own_mode(ProtectedFiles *files, ProtectedFile *file, unsigned mode) {
        unsigned own = lock_file_own_mode(file->own_mode, mode);

        if (!file->locked || own == file->own_mode)
                return false;
        file->own_mode = own;
        files->handler->record_changed(files->context);
        return true;
}

/* Write-protects a file that has a holder. A new node and a new own mode `wait` to be saved first:
 * the round that saves them comes back to the file. */
static void write_protect(ProtectedFiles *files, ProtectedFile *file, bool waits) {
        struct stat st;
        int r;

        if (file->holders->len == 0)
                return;
        /* One that cannot be looked at is what it was. */
        if (lstat(file->path, &st) < 0) {
                note(files, file, errno_means_absent(-errno) ? 0 : -errno, "look at");
                return;
        }
        bool anew = st.st_ino != file->inode;
        if (anew && !lock_file_is_apart(file->which))
                return; /* made anew with its function, whose events tell */
        if (anew)
                adopt_new_node(files, file, &st);
        /* Watch first: what happens before it is write-protected is then not missed. */
        if (lock_file_is_apart(file->which) && file->watch < 0)
                watch_apart(files, file);
        anew |= note_own_mode(files, file, st.st_mode & 0777U);
        if (anew && waits) {
                g_ptr_array_add(files->pending, file);
                return;
        }
        if ((st.st_mode & WRITE_BITS) == 0) {
                set_locked(files, file, true);
                note(files, file, 0, "close");
                return;
        }

        bool violated = file->locked;
        r = file_mode_set(file->path, file->inode, file->own_mode & ~WRITE_BITS, files->reserve);
        set_locked(files, file, r == 0);
        note(files, file, errno_means_absent(r) ? 0 : r, "close");
        if (violated)
                files->handler->violation(files->context,
                                          g_array_index(file->holders, Holder, 0) >> 4, file->which,
                                          file->path, st.st_mode & 07777U);
}

void protected_files_touched(ProtectedFiles *files, PciKey key, const char *name) {
        LockFile which = lock_file_from_string(name);
        Holder holder = holder_make(key, which);
        ProtectedFile *file = which < 0 ? NULL : g_hash_table_lookup(files->by_holder, &holder);

        if (file)
                write_protect(files, file, true);
}

/* The record of a file that cannot be opened again is kept, for its own mode would be lost. */
static void commit_open(ProtectedFiles *files, ProtectedFile *file) {
        int r;

        watch_remove(files->watch, file->watch);
        file->watch = -1;
        r = file_mode_unlock(file->path, file->inode, file->own_mode, files->reserve);
        if (r < 0 && !errno_means_absent(r))
                note(files, file, r, "open again");
        else
                forget_file(files, file);
}

/* Of what is pending. What is to be write-protected stays so unless it is `recorded` by now. */
static void protected_files_do(ProtectedFiles *files, bool recorded) {
        g_autoptr(GPtrArray) pending = g_steal_pointer(&files->pending);
        g_autoptr(GHashTable) done = g_hash_table_new(NULL, NULL);

        files->pending = g_ptr_array_new();
        for (guint i = 0; i < pending->len; i++) {
                ProtectedFile *file = pending->pdata[i];

                if (!g_hash_table_add(done, file))
                        continue;
                if (file->holders->len == 0)
                        commit_open(files, file);
                else if (recorded)
                        write_protect(files, file, false);
                else
                        g_ptr_array_add(files->pending, file);
        }
}

void protected_files_commit(ProtectedFiles *files) {
        protected_files_do(files, true);
}

void protected_files_forget(ProtectedFiles *files, PciKey key) {
        for (LockFile which = 0; which < _LOCK_FILE_MAX; which++)
                unlock_for(files, key, which);
        /* At once: the next device at this address has files of the same names. */
        protected_files_do(files, false);
}

int protected_files_open_for_writing(ProtectedFiles *files, const char *path) {
        ProtectedFile *file = g_hash_table_lookup(files->by_path, path);
        int fd, r = 0;

        if (file && file->locked)
                r = file_mode_set(file->path, file->inode, file->own_mode, files->reserve);
        if (r < 0)
                return r;
        fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
        fd = fd < 0 ? -errno : fd;
        if (!file || !file->locked)
                return fd;
        r = file_mode_set(file->path, file->inode, file->own_mode & ~WRITE_BITS, files->reserve);
        if (r < 0 && !errno_means_absent(r)) {
                set_locked(files, file, false); /* protected_files_check() tries again */
                note(files, file, r, "close");
        }
        return fd;
}

/* A file without a holder that cannot be unlocked at present: its purpose is unknown. */
static void keep_record(void *context, const StateFile *record, int r) {
        ProtectedFiles *files = context;
        /* Which one matters to those with holders only. */
        ProtectedFile *file = protected_file_new(LOCK_FILE_REMOVE, record->inode, record->mode);

        file->path = g_strdup(record->path);
        file->locked = true;
        g_hash_table_replace(files->by_path, file->path, file);
        note(files, file, r, "open again");
}

static void unlock_adopted(ProtectedFiles *files) {
        if (files->adopted &&
            adopted_files_unlock(files->adopted, files->reserve, keep_record, files))
                files->handler->record_changed(files->context);
}

void protected_files_drop_adopted(ProtectedFiles *files) {
        unlock_adopted(files);
        files->adopted = adopted_files_free(files->adopted);
}

unsigned protected_files_mask(const ProtectedFiles *files, PciKey key) {
        unsigned mask = 0;

        for (LockFile which = 0; which < _LOCK_FILE_MAX; which++) {
                Holder holder = holder_make(key, which);
                const ProtectedFile *file = g_hash_table_lookup(files->by_holder, &holder);

                if (file && file->locked)
                        mask |= 1U << which;
        }
        return mask;
}

void protected_files_check(ProtectedFiles *files) {
        g_autoptr(GPtrArray) again = g_ptr_array_new();
        GHashTableIter iter;
        gpointer value;

        g_hash_table_iter_init(&iter, files->by_path);
        while (g_hash_table_iter_next(&iter, NULL, &value))
                if (((const ProtectedFile *) value)->holders->len > 0)
                        write_protect(files, value, true);
                else
                        g_ptr_array_add(again, value);
        for (guint i = 0; i < again->len; i++)
                commit_open(files, again->pdata[i]);
}

void protected_files_unlock_rest(ProtectedFiles *files) {
        unlock_adopted(files);
        protected_files_check(files);
}

int protected_files_error(const ProtectedFiles *files, const char *path) {
        const ProtectedFile *file = g_hash_table_lookup(files->by_path, path);

        return file ? file->error : 0;
}

bool protected_files_failing(const ProtectedFiles *files) {
        return files->n_failing > 0;
}

bool protected_files_know(const ProtectedFiles *files, const char *path) {
        return g_hash_table_contains(files->by_path, path);
}

bool protected_files_any(const ProtectedFiles *files) {
        return g_hash_table_size(files->by_path) > 0;
}

GPtrArray *protected_files_list(const ProtectedFiles *files) {
        GPtrArray *paths = g_ptr_array_new_with_free_func(g_free);
        GHashTableIter iter;
        gpointer value;

        g_hash_table_iter_init(&iter, files->by_path);
        while (g_hash_table_iter_next(&iter, NULL, &value))
                if (((const ProtectedFile *) value)->locked)
                        g_ptr_array_add(paths, g_strdup(((const ProtectedFile *) value)->path));
        if (files->adopted)
                adopted_files_list(files->adopted, paths);
        return paths;
}
