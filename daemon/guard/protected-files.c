#include "daemon/guard/protected-files.h"

#include "daemon/base/log.h"
#include "daemon/base/util.h"
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
        GArray *holders; /* of Holder; the file is wanted closed while there is one */
        bool closed;     /* by us, as far as we know */
        bool failing;    /* the last attempt to look at it, or to change its mode, failed */
        int watch;       /* of a slot's file: number, or -1 */
} ProtectedFile;

struct ProtectedFiles {
        Watch *watch;
        Problems *problems;
        Reserve *reserve;
        const ProtectedFilesHandler *handler;
        void *context;
        GHashTable *by_path;   /* path -> ProtectedFile*, owned */
        GHashTable *by_holder; /* Holder -> ProtectedFile*, borrowed */
        GHashTable *adopted;   /* path -> StateFile*, of an earlier run; NULL after start */
        GPtrArray *pending;    /* borrowed ProtectedFile*, to be committed */
        unsigned n_failing;
        bool dirty;
};

static Holder holder_make(PciKey key, LockFile file) {
        return key << 4 | (Holder) file;
}

static void protected_file_free(gpointer data) {
        ProtectedFile *file = data;

        g_free(file->path);
        g_array_unref(file->holders);
        g_free(file);
}

static void state_file_free(gpointer data) {
        g_free(((StateFile *) data)->path);
        g_free(data);
}

ProtectedFiles *protected_files_new(Watch *watch, Problems *problems, Reserve *reserve,
                                    const ProtectedFilesHandler *handler, void *context) {
        ProtectedFiles *closed = g_new0(ProtectedFiles, 1);

        closed->watch = watch;
        closed->problems = problems;
        closed->reserve = reserve;
        closed->handler = handler;
        closed->context = context;
        closed->by_path = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, protected_file_free);
        closed->by_holder = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
        closed->adopted = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, state_file_free);
        closed->pending = g_ptr_array_new();
        return closed;
}

ProtectedFiles *protected_files_free(ProtectedFiles *closed) {
        if (!closed)
                return NULL;
        g_hash_table_unref(closed->by_path);
        g_hash_table_unref(closed->by_holder);
        g_clear_pointer(&closed->adopted, g_hash_table_unref);
        g_ptr_array_unref(closed->pending);
        g_free(closed);
        return NULL;
}

void protected_files_adopt(ProtectedFiles *closed, const GArray *records) {
        for (guint i = 0; i < records->len; i++) {
                const StateFile *record = &g_array_index(records, StateFile, i);
                StateFile *copy = g_new(StateFile, 1);

                *copy = (StateFile){ g_strdup(record->path), record->inode, record->mode };
                g_hash_table_replace(closed->adopted, copy->path, copy);
        }
}

static void forget_file(ProtectedFiles *closed, ProtectedFile *file) {
        g_autofree char *key = g_strconcat("file ", file->path, NULL);
        g_autofree char *watch_key = g_strconcat("watch ", file->path, NULL);

        problems_resolve(closed->problems, key);
        problems_resolve(closed->problems, watch_key);
        closed->n_failing -= file->failing;
        g_hash_table_remove(closed->by_path, file->path);
        closed->dirty = true;
}

/* The entry for `path`, made if need be from what is seen and what is known of earlier. */
static int protected_file_get(ProtectedFiles *closed, char *path, LockFile which,
                              ProtectedFile **ret) {
        g_autofree char *owned = path;
        const StateFile *record;
        ProtectedFile *file;
        struct stat st;
        int r;

        file = g_hash_table_lookup(closed->by_path, path);
        if (file && file->holders->len > 0) {
                *ret = file;
                return 0;
        }
        r = lstat(path, &st) < 0 ? -errno : 0;
        if (r < 0)
                return r;
        /* One that could not be opened again is taken up, if it is the same still. */
        if (file && file->inode == st.st_ino) {
                *ret = file;
                return 0;
        }
        if (file)
                forget_file(closed, file);
        if (!S_ISREG(st.st_mode))
                return -ENOENT;

        file = g_new0(ProtectedFile, 1);
        file->which = which;
        file->inode = st.st_ino;
        file->own_mode = st.st_mode & 07777U;
        file->holders = g_array_new(FALSE, FALSE, sizeof(Holder));
        file->watch = -1;

        record = closed->adopted ? g_hash_table_lookup(closed->adopted, path) : NULL;
        if (record && record->inode == st.st_ino) {
                file->own_mode = record->mode;
                file->closed = true; /* if it is not: somebody opened it while we were away */
        } else if ((st.st_mode & WRITE_BITS) == 0)
                file->own_mode = lock_file_kernel_mode(which);
        if (record)
                g_hash_table_remove(closed->adopted, path);

        file->path = g_steal_pointer(&owned);
        g_hash_table_insert(closed->by_path, file->path, file);
        closed->dirty = true;
        *ret = file;
        return 0;
}

/* Returns 0, also where there is no such file, or a negative errno when that is unknown. */
static int hold(ProtectedFiles *closed, const Function *function, LockFile which) {
        Holder holder = holder_make(function->facts.key, which);
        ProtectedFile *file = g_hash_table_lookup(closed->by_holder, &holder);
        char *path = NULL;
        int r;

        if (file) {
                if (!file->closed)
                        g_ptr_array_add(closed->pending, file); /* it failed the last time */
                return 0;
        }
        r = file_mode_path(function, which, closed->reserve, &path);
        if (r >= 0)
                r = protected_file_get(closed, path, which, &file);
        if (r < 0)
                return errno_means_absent(r) ? 0 : r;
        g_array_append_val(file->holders, holder);
        g_hash_table_insert(closed->by_holder, g_memdup2(&holder, sizeof(holder)), file);
        g_ptr_array_add(closed->pending, file);
        return 0;
}

static void let_go(ProtectedFiles *closed, PciKey key, LockFile which) {
        Holder holder = holder_make(key, which);
        ProtectedFile *file = g_hash_table_lookup(closed->by_holder, &holder);

        if (!file)
                return;
        g_hash_table_remove(closed->by_holder, &holder);
        for (guint i = 0; i < file->holders->len; i++)
                if (g_array_index(file->holders, Holder, i) == holder) {
                        g_array_remove_index(file->holders, i);
                        break;
                }
        g_ptr_array_add(closed->pending, file);
}

int protected_files_plan(ProtectedFiles *closed, const Function *function, unsigned files) {
        int failed = 0, r;

        for (LockFile which = 0; which < _LOCK_FILE_MAX; which++)
                if (!(files & (1U << which)))
                        let_go(closed, function->facts.key, which);
                else if ((r = hold(closed, function, which)) < 0)
                        failed = r;
        return failed;
}

bool protected_files_dirty(const ProtectedFiles *closed) {
        return closed->dirty;
}

void protected_files_record(ProtectedFiles *closed, GArray *records) {
        GHashTableIter iter;
        gpointer value;

        g_hash_table_iter_init(&iter, closed->by_path);
        while (g_hash_table_iter_next(&iter, NULL, &value)) {
                const ProtectedFile *file = value;
                StateFile record = { g_strdup(file->path), file->inode, file->own_mode };

                g_array_append_val(records, record);
        }
        if (closed->adopted) { /* still at start: nothing of what is not looked at yet may be lost
                                */
                g_hash_table_iter_init(&iter, closed->adopted);
                while (g_hash_table_iter_next(&iter, NULL, &value)) {
                        const StateFile *adopted = value;
                        StateFile record = { g_strdup(adopted->path), adopted->inode,
                                             adopted->mode };

                        g_array_append_val(records, record);
                }
        }
        closed->dirty = false;
}

/* What came of an attempt at the file: `r` is 0 or a negative errno, `what` was to be done. */
static void note(ProtectedFiles *closed, ProtectedFile *file, int r, const char *what) {
        g_autofree char *key = g_strconcat("file ", file->path, NULL);

        if (file->failing != (r < 0))
                closed->n_failing += r < 0 ? 1U : -1U;
        file->failing = r < 0;
        if (r < 0)
                problems_report(closed->problems, key, "Failed to %s %s: %s", what, file->path,
                                g_strerror(-r));
        else
                problems_resolve(closed->problems, key);
}

static void protected_file_check(ProtectedFiles *closed, ProtectedFile *file);

static void set_closed(ProtectedFiles *closed, ProtectedFile *file, bool is_closed) {
        if (file->closed == is_closed)
                return;
        file->closed = is_closed;
        for (guint i = 0; i < file->holders->len; i++)
                closed->handler->changed(closed->context,
                                         g_array_index(file->holders, Holder, i) >> 4);
}

static void on_slot_attribute(void *context, void *userdata, const char *name) {
        protected_file_check(context, userdata);
}

static void watch_slot(ProtectedFiles *closed, ProtectedFile *file) {
        g_autofree char *key = g_strconcat("watch ", file->path, NULL);

        watch_remove(closed->watch, file->watch);
        file->watch =
                watch_add(closed->watch, file->path, IN_ATTRIB, on_slot_attribute, closed, file);
        /* It is looked at every few seconds besides, and then watched if that is possible. */
        if (file->watch < 0 && !errno_means_absent(file->watch))
                problems_report(closed->problems, key,
                                "Failed to watch %s, changes are seen late: %s", file->path,
                                g_strerror(-file->watch));
        else
                problems_resolve(closed->problems, key);
}

/* A slot's directory can be made anew while the function stays (its driver was loaded again), and
 * no event reports it: the new file takes the place of the old. */
static void adopt_new_node(ProtectedFiles *closed, ProtectedFile *file, const struct stat *st) {
        file->inode = st->st_ino;
        file->own_mode = st->st_mode & 07777U;
        file->closed = false;
        closed->dirty = true;
        watch_slot(closed, file);
}

/* Sees to it that a file that is wanted closed is closed. */
static void protected_file_check(ProtectedFiles *closed, ProtectedFile *file) {
        struct stat st;
        int r;

        if (file->holders->len == 0)
                return;
        /* One that cannot be looked at is what it was. */
        if (lstat(file->path, &st) < 0) {
                note(closed, file, errno_means_absent(-errno) ? 0 : -errno, "look at");
                return;
        }
        if (st.st_ino != file->inode) {
                if (file->which != LOCK_FILE_SLOT_POWER)
                        return; /* made anew with its function, whose events tell */
                adopt_new_node(closed, file, &st);
        }
        if (file->which == LOCK_FILE_SLOT_POWER && file->watch < 0)
                watch_slot(closed, file);
        if ((st.st_mode & WRITE_BITS) == 0) {
                set_closed(closed, file, true);
                note(closed, file, 0, "close");
                return;
        }

        bool violated = file->closed;
        r = file_mode_set(file->path, file->inode, st.st_mode & 07777U & ~WRITE_BITS,
                          closed->reserve);
        set_closed(closed, file, r == 0);
        note(closed, file, errno_means_absent(r) ? 0 : r, "close");
        if (violated)
                closed->handler->violation(closed->context,
                                           g_array_index(file->holders, Holder, 0) >> 4,
                                           file->which, file->path, st.st_mode & 07777U);
}

void protected_files_touched(ProtectedFiles *closed, PciKey key, const char *name) {
        LockFile which = lock_file_from_string(name);
        ProtectedFile *file;

        if (which < 0)
                return;
        Holder holder = holder_make(key, which);
        file = g_hash_table_lookup(closed->by_holder, &holder);
        if (file)
                protected_file_check(closed, file);
}

static void commit_close(ProtectedFiles *closed, ProtectedFile *file) {
        /* Watch first: what happens between the two is then not missed. */
        if (file->which == LOCK_FILE_SLOT_POWER && file->watch < 0)
                watch_slot(closed, file);
        protected_file_check(closed, file);
}

/* The record of a file that cannot be opened again is kept, for its own mode would be lost. */
static void commit_open(ProtectedFiles *closed, ProtectedFile *file) {
        int r;

        watch_remove(closed->watch, file->watch);
        file->watch = -1;
        r = file_mode_set(file->path, file->inode, file->own_mode, closed->reserve);
        if (r < 0 && !errno_means_absent(r))
                note(closed, file, r, "open again");
        else
                forget_file(closed, file);
}

void protected_files_commit(ProtectedFiles *closed) {
        g_autoptr(GHashTable) done = g_hash_table_new(NULL, NULL);

        for (guint i = 0; i < closed->pending->len; i++) {
                ProtectedFile *file = closed->pending->pdata[i];

                if (!g_hash_table_add(done, file))
                        continue;
                if (file->holders->len > 0)
                        commit_close(closed, file);
                else
                        commit_open(closed, file);
        }
        g_ptr_array_set_size(closed->pending, 0);
}

void protected_files_forget(ProtectedFiles *closed, PciKey key) {
        for (LockFile which = 0; which < _LOCK_FILE_MAX; which++)
                let_go(closed, key, which);
        /* At once: the next device at this address has files of the same names. */
        protected_files_commit(closed);
}

int protected_files_open_for_writing(ProtectedFiles *closed, const char *path) {
        ProtectedFile *file = g_hash_table_lookup(closed->by_path, path);
        int fd, r = 0;

        if (file && file->closed)
                r = file_mode_set(file->path, file->inode, file->own_mode, closed->reserve);
        if (r < 0)
                return r;
        fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
        fd = fd < 0 ? -errno : fd;
        if (!file || !file->closed)
                return fd;
        r = file_mode_set(file->path, file->inode, file->own_mode & ~WRITE_BITS, closed->reserve);
        if (r < 0 && !errno_means_absent(r)) {
                set_closed(closed, file, false); /* protected_files_check() tries again */
                note(closed, file, r, "close");
        }
        return fd;
}

/* A file that nobody wants closed, and that cannot be opened at present: its purpose is unknown. */
static void keep_record(ProtectedFiles *closed, const StateFile *record, int r) {
        ProtectedFile *file = g_new0(ProtectedFile, 1);

        file->path = g_strdup(record->path);
        file->which = LOCK_FILE_REMOVE; /* which matters to those with holders only */
        file->inode = record->inode;
        file->own_mode = record->mode;
        file->holders = g_array_new(FALSE, FALSE, sizeof(Holder));
        file->closed = true;
        file->watch = -1;
        g_hash_table_replace(closed->by_path, file->path, file);
        note(closed, file, r, "open again");
}

void protected_files_drop_adopted(ProtectedFiles *closed) {
        GHashTableIter iter;
        gpointer value;

        if (!closed->adopted)
                return;
        g_hash_table_iter_init(&iter, closed->adopted);
        while (g_hash_table_iter_next(&iter, NULL, &value)) {
                const StateFile *record = value;
                int r = file_mode_set(record->path, record->inode, record->mode, closed->reserve);

                if (r == 0)
                        log_info("%s: opened, the reason to close it is gone", record->path);
                else if (!errno_means_absent(r))
                        keep_record(closed, record, r);
                closed->dirty = true;
        }
        g_clear_pointer(&closed->adopted, g_hash_table_unref);
}

unsigned protected_files_mask(const ProtectedFiles *closed, PciKey key) {
        unsigned mask = 0;

        for (LockFile which = 0; which < _LOCK_FILE_MAX; which++) {
                Holder holder = holder_make(key, which);
                const ProtectedFile *file = g_hash_table_lookup(closed->by_holder, &holder);

                if (file && file->closed)
                        mask |= 1U << which;
        }
        return mask;
}

void protected_files_check(ProtectedFiles *closed) {
        g_autoptr(GPtrArray) again = g_ptr_array_new();
        GHashTableIter iter;
        gpointer value;

        g_hash_table_iter_init(&iter, closed->by_path);
        while (g_hash_table_iter_next(&iter, NULL, &value))
                if (((const ProtectedFile *) value)->holders->len > 0)
                        protected_file_check(closed, value);
                else
                        g_ptr_array_add(again, value);
        for (guint i = 0; i < again->len; i++)
                commit_open(closed, again->pdata[i]);
}

bool protected_files_failing(const ProtectedFiles *closed) {
        return closed->n_failing > 0;
}

void protected_files_open_strays(ProtectedFiles *closed, const Function *function,
                                 GPtrArray *paths) {
        for (LockFile which = 0; which < _LOCK_FILE_MAX; which++) {
                g_autofree char *path = NULL;
                struct stat st;
                int r;

                if (file_mode_path(function, which, closed->reserve, &path) < 0 ||
                    g_hash_table_contains(closed->by_path, path) || lstat(path, &st) < 0 ||
                    !S_ISREG(st.st_mode) || (st.st_mode & WRITE_BITS) != 0)
                        continue;
                r = file_mode_set(path, st.st_ino, lock_file_kernel_mode(which), closed->reserve);
                if (r < 0)
                        log_error("%s cannot be opened: %s", path, g_strerror(-r));
                else if (paths)
                        g_ptr_array_add(paths, g_steal_pointer(&path));
        }
}

bool protected_files_any(const ProtectedFiles *closed) {
        return g_hash_table_size(closed->by_path) > 0;
}

GPtrArray *protected_files_list(const ProtectedFiles *closed) {
        GPtrArray *paths = g_ptr_array_new_with_free_func(g_free);
        GHashTableIter iter;
        gpointer value;

        g_hash_table_iter_init(&iter, closed->by_path);
        while (g_hash_table_iter_next(&iter, NULL, &value))
                if (((const ProtectedFile *) value)->closed)
                        g_ptr_array_add(paths, g_strdup(((const ProtectedFile *) value)->path));
        return paths;
}
