#include "daemon/guard/adopted-files.h"

#include "daemon/base/log.h"
#include "daemon/guard/records.h"
#include "daemon/sysfs/file-mode.h"
#include "policy/absence.h"

struct AdoptedFiles {
        GHashTable *records; /* path in StateFile -> StateFile*, owned */
};

AdoptedFiles *adopted_files_new(void) {
        AdoptedFiles *adopted = g_new(AdoptedFiles, 1);

        adopted->records = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, state_file_free);
        return adopted;
}

AdoptedFiles *adopted_files_free(AdoptedFiles *adopted) {
        if (!adopted)
                return NULL;
        g_hash_table_unref(adopted->records);
        g_free(adopted);
        return NULL;
}

void adopted_files_add(AdoptedFiles *adopted, const GArray *records) {
        for (guint i = 0; i < records->len; i++) {
                const StateFile *record = &g_array_index(records, StateFile, i);
                StateFile *copy = g_new(StateFile, 1);

                *copy = (StateFile){ g_strdup(record->path), record->inode, record->mode };
                g_hash_table_replace(adopted->records, copy->path, copy);
        }
}

void adopted_files_record(const AdoptedFiles *adopted, GArray *records) {
        const StateFile *record;
        GHashTableIter iter;

        g_hash_table_iter_init(&iter, adopted->records);
        while (g_hash_table_iter_next(&iter, NULL, (gpointer *) &record)) {
                StateFile copy = { g_strdup(record->path), record->inode, record->mode };

                g_array_append_val(records, copy);
        }
}

bool adopted_files_take(AdoptedFiles *adopted, const char *path, uint64_t inode,
                        unsigned *ret_mode) {
        const StateFile *record = g_hash_table_lookup(adopted->records, path);
        bool same = record && record->inode == inode;

        if (same)
                *ret_mode = record->mode;
        g_hash_table_remove(adopted->records, path);
        return same;
}

void adopted_files_list(const AdoptedFiles *adopted, GPtrArray *paths) {
        GHashTableIter iter;
        const char *path;

        g_hash_table_iter_init(&iter, adopted->records);
        while (g_hash_table_iter_next(&iter, (gpointer *) &path, NULL))
                g_ptr_array_add(paths, g_strdup(path));
}

bool adopted_files_unlock(AdoptedFiles *adopted, Reserve *reserve, AdoptedFilesFailed *failed,
                          void *context) {
        bool any = g_hash_table_size(adopted->records) > 0;
        const StateFile *record;
        GHashTableIter iter;

        g_hash_table_iter_init(&iter, adopted->records);
        while (g_hash_table_iter_next(&iter, NULL, (gpointer *) &record)) {
                int r = file_mode_unlock(record->path, record->inode, record->mode, reserve);

                if (r == 0)
                        log_info("%s: unlocked, the reason to lock it is gone", record->path);
                else if (!errno_means_absent(r))
                        failed(context, record, r);
        }
        g_hash_table_remove_all(adopted->records);
        return any;
}
