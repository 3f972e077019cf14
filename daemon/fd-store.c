#include "daemon/fd-store.h"

#include <glib.h>
#include <stdbool.h>
#include <stdlib.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

struct FdStore {
        GHashTable *fds; /* name, owned -> descriptor */
};

FdStore *fd_store_new(void) {
        FdStore *store = g_new(FdStore, 1);
        char **names = NULL;
        int n = sd_listen_fds_with_names(true, &names);

        store->fds = g_hash_table_new_full(g_str_hash, g_str_equal, free, NULL);
        for (int i = 0; i < n; i++) {
                int fd = SD_LISTEN_FDS_START + i;

                if (g_hash_table_contains(store->fds, names[i])) {
                        close(fd);
                        free(names[i]);
                } else
                        g_hash_table_insert(store->fds, names[i], GINT_TO_POINTER(fd));
        }
        free(names);
        return store;
}

FdStore *fd_store_free(FdStore *store) {
        GHashTableIter iter;
        gpointer name, fd;

        if (!store)
                return NULL;
        g_hash_table_iter_init(&iter, store->fds);
        while (g_hash_table_iter_next(&iter, &name, &fd)) {
                fd_store_drop(name);
                close(GPOINTER_TO_INT(fd));
        }
        g_hash_table_unref(store->fds);
        g_free(store);
        return NULL;
}

int fd_store_take(FdStore *store, const char *name) {
        gpointer fd;

        if (!g_hash_table_lookup_extended(store->fds, name, NULL, &fd))
                return -1;
        g_hash_table_remove(store->fds, name);
        return GPOINTER_TO_INT(fd);
}

void fd_store_keep(const char *name, int fd) {
        g_autofree char *message = g_strdup_printf("FDSTORE=1\nFDNAME=%s", name);

        (void) sd_pid_notify_with_fds(0, false, message, &fd, 1);
}

void fd_store_drop(const char *name) {
        (void) sd_notifyf(false, "FDSTOREREMOVE=1\nFDNAME=%s", name);
}
