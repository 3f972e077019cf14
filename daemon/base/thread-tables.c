#include "daemon/base/thread-tables.h"

#include "daemon/base/process.h"
#include "daemon/base/util.h"
#include "policy/number.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/kcmp.h>
#include <sys/stat.h>
#include <sys/syscall.h>

/* A folder has two links, and `task` one more for each thread (proc_task_getattr()). */
#define LINKS_OF_ONE_THREAD 3
/* So many more than twice those of the beginning are listed. A process could begin threads as fast
 * as they are listed, and the search would not end. */
#define NEW_THREADS_MAX 256

struct ThreadTables {
        DIR *threads;
        pid_t pid, thread;
        uint64_t left; /* threads that it lists yet */
        ThreadTablesCompared *compared;
        void *context;
        GArray *known; /* of pid_t: one of each table, in kcmp's order */
};

int thread_tables_open(const char *proc, pid_t pid, pid_t thread, ThreadTablesCompared *compared,
                       void *context, ThreadTables **ret) {
        g_autofree char *path = g_strdup_printf("%s/%d/task", proc, pid);
        ThreadTables *tables = NULL;
        struct stat st;
        DIR *threads;

        *ret = NULL;
        if (stat(path, &st) < 0)
                return process_has_ended(-errno) ? 0 : -errno;
        if (st.st_nlink <= LINKS_OF_ONE_THREAD)
                return 0;
        threads = opendir(path);
        if (!threads)
                return process_has_ended(-errno) ? 0 : -errno;
        tables = g_new0(ThreadTables, 1);
        tables->threads = threads;
        tables->pid = pid;
        tables->thread = thread;
        tables->left = 2 * (uint64_t) st.st_nlink + NEW_THREADS_MAX;
        tables->compared = compared;
        tables->context = context;
        tables->known = g_array_new(FALSE, FALSE, sizeof(pid_t));
        g_array_append_val(tables->known, thread);
        *ret = tables;
        return 0;
}

ThreadTables *thread_tables_free(ThreadTables *tables) {
        if (!tables)
                return NULL;
        closedirp(&tables->threads);
        g_array_unref(tables->known);
        g_free(tables);
        return NULL;
}

/* 0 the same, 1 less, 2 greater; else it cannot tell, or one of them has ended. */
static long compare_threads(const ThreadTables *tables, pid_t a, pid_t b) {
        tables->compared(tables->context, tables->pid, a);
        return syscall(SYS_kcmp, a, b, KCMP_FILES, 0, 0);
}

/* Whether a thread before had its table. Notes it if not. */
static bool is_known_table(ThreadTables *tables, pid_t thread) {
        guint low = 0, high = tables->known->len;

        while (low < high) {
                guint middle = (low + high) / 2;
                pid_t other = g_array_index(tables->known, pid_t, middle);
                long order = compare_threads(tables, thread, other);

                if (order == 0)
                        return true;
                if (order != 1 && order != 2) {
                        if (compare_threads(tables, other, other) == 0)
                                return false;
                        /* That one has ended; another may go on with its table. */
                        g_array_remove_index(tables->known, middle);
                        low = 0;
                        high = tables->known->len;
                } else if (order == 2)
                        low = middle + 1;
                else
                        high = middle;
        }
        g_array_insert_val(tables->known, low, thread);
        return false;
}

int thread_tables_next(ThreadTables *tables, unsigned max, pid_t *ret) {
        *ret = 0;
        for (unsigned n = 0; n < max; n++) {
                const struct dirent *entry;
                uint64_t number;

                errno = 0;
                entry = readdir(tables->threads);
                if (!entry)
                        return errno == 0 || errno == ESRCH || errno == ENOENT ? 0 : -errno;
                if (tables->left-- == 0)
                        return -EOVERFLOW;
                if (number_parse(entry->d_name, 10, INT_MAX, &number) < 0 ||
                    (pid_t) number == tables->thread)
                        continue;
                if (tables->compared && is_known_table(tables, (pid_t) number))
                        continue;
                *ret = (pid_t) number;
                return 1;
        }
        return 1;
}
