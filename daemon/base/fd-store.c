#include "daemon/base/fd-store.h"

#include "policy/number.h"

#include <errno.h>
#include <glib.h>
#include <stdbool.h>
#include <stdlib.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

struct FdStore {
        Notify *notify;
        GHashTable *untaken; /* name, owned -> descriptor */
        GHashTable *kept;    /* set of names, owned: what systemd has */
        uint64_t max;
};

static uint64_t find_max(uint32_t max) {
        const char *text = getenv("FDSTORE");
        uint64_t number;

        return text && number_parse(text, 10, UINT32_MAX, &number) >= 0 ? number : max;
}

/* systemd drops all of a name at once, so a second one of a name needs no place of its own. */
static void fd_store_adopt(FdStore *store, const char *name, int fd) {
        g_hash_table_add(store->kept, g_strdup(name));
        if (g_hash_table_contains(store->untaken, name))
                close(fd);
        else
                g_hash_table_insert(store->untaken, g_strdup(name), GINT_TO_POINTER(fd));
}

FdStore *fd_store_new(Notify *notify, uint32_t max) {
        FdStore *store = g_new(FdStore, 1);
        char **names = NULL;
        int n = sd_listen_fds_with_names(true, &names);

        store->notify = notify;
        store->max = find_max(max);
        store->untaken = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        store->kept = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        for (int i = 0; i < n; i++) {
                fd_store_adopt(store, names[i], SD_LISTEN_FDS_START + i);
                free(names[i]);
        }
        free(names);
        return store;
}

FdStore *fd_store_free(FdStore *store) {
        GHashTableIter iter;
        gpointer fd;

        if (!store)
                return NULL;
        g_hash_table_iter_init(&iter, store->untaken);
        while (g_hash_table_iter_next(&iter, NULL, &fd))
                close(GPOINTER_TO_INT(fd));
        g_hash_table_unref(store->untaken);
        g_hash_table_unref(store->kept);
        g_free(store);
        return NULL;
}

int fd_store_take(FdStore *store, const char *name) {
        gpointer fd;

        if (!g_hash_table_lookup_extended(store->untaken, name, NULL, &fd))
                return -1;
        g_hash_table_remove(store->untaken, name);
        return GPOINTER_TO_INT(fd);
}

void fd_store_drop_untaken(FdStore *store) {
        GHashTableIter iter;
        gpointer name, fd;

        g_hash_table_iter_init(&iter, store->untaken);
        while (g_hash_table_iter_next(&iter, &name, &fd)) {
                fd_store_drop(store, name);
                close(GPOINTER_TO_INT(fd));
                g_hash_table_iter_remove(&iter);
        }
}

int fd_store_keep(FdStore *store, const char *name, int fd) {
        int r;

        if (g_hash_table_size(store->kept) >= store->max)
                return -EXFULL;
        r = notify_send_fd(store->notify, fd, "FDSTORE=1\nFDNAME=%s", name);
        if (r < 0)
                return r;
        g_hash_table_add(store->kept, g_strdup(name));
        return 0;
}

void fd_store_drop(FdStore *store, const char *name) {
        /* systemd keeps a descriptor until it is notified. */
        if (notify_send(store->notify, "FDSTOREREMOVE=1\nFDNAME=%s", name) >= 0)
                g_hash_table_remove(store->kept, name);
}

const char *fd_store_error(int error) {
        return error == -EXFULL ? "systemd keeps no more descriptors for the daemon "
                                  "(FileDescriptorStoreMax= of its unit)"
                                : g_strerror(-error);
}
