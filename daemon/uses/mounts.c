#include "daemon/uses/mounts.h"

#include "daemon/base/process.h"
#include "daemon/base/util.h"
#include "daemon/uses/program-files.h"
#include "policy/absence.h"
#include "policy/look-share.h"
#include "policy/number.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Lines. A namespace begins as a copy of the one that its maker was in, so what the host had comes
 * first. */
static const LookShare mounts_share = {
        .of_user = 65536,
        .of_users = UINT64_C(4) * 65536,
        .of_process = 256,
        .usec = 1500 * 1000,
};

typedef struct OthersSearch {
        const char *proc;
        const MountsHandler *handler;
        void *context;
        GHashTable *seen;     /* namespaces that were read to the end: "mnt:[4026531840]" */
        GHashTable *of_users; /* uid -> number of lines */
        uint64_t of_all_users, begun_usec;
} OthersSearch;

/* Of a process that has ended, or is ending (mounts_open_common() in fs/proc_namespace.c). */
static bool is_gone(int r) {
        return process_has_ended(r) || r == -EINVAL;
}

/* A blank, and what is no text, is written "\040" (mangle() in fs/seq_file.c). */
static char *decode(char *text) {
        char *to = text;

        for (const char *from = text; *from != '\0'; to++) {
                if (from[0] == '\\' && from[1] >= '0' && from[1] <= '3' && from[2] >= '0' &&
                    from[2] <= '7' && from[3] >= '0' && from[3] <= '7') {
                        *to = (char) ((from[1] - '0') * 64 + (from[2] - '0') * 8 + (from[3] - '0'));
                        from += 4;
                } else
                        *to = *from++;
        }
        *to = '\0';
        return text;
}

/* "36 35 98:0 /root /point options [optional ...] - type source options" (proc_pid_mountinfo(5)) */
static void take_mount(char *line, MountVisit *visit, void *context) {
        g_auto(GStrv) words = g_strsplit(line, " ", -1);
        guint n = g_strv_length(words), dash = 6;
        Mount mount;

        while (dash < n && strcmp(words[dash], "-") != 0)
                dash++;
        if (dash + 2 >= n || number_parse_device(words[2], 10, &mount.major, &mount.minor) < 0)
                return;
        mount.point = decode(words[4]);
        mount.type = words[dash + 1];
        mount.source = decode(words[dash + 2]);
        mount.options = dash + 3 < n ? decode(words[dash + 3]) : "";
        visit(context, &mount);
}

/* Reads `max` lines; `*ret_n` is how many were read. Returns 1 if there are more, 0, or a negative
 * errno. */
static int read_lines(const char *path, uint64_t max, MountVisit *visit, void *context,
                      uint64_t *ret_n) {
        _cleanup_(fclosep) FILE *file = fopen(path, "re");
        _cleanup_(freep) char *line = NULL;
        size_t size = 0;
        ssize_t n;

        *ret_n = 0;
        if (!file)
                return -errno;
        while ((errno = 0, n = getline(&line, &size, file)) > 0) {
                if (*ret_n == max)
                        return 1;
                (*ret_n)++;
                if (line[n - 1] == '\n')
                        line[n - 1] = '\0';
                take_mount(line, visit, context);
        }
        return -errno;
}

int mounts_read(const char *path, MountVisit *visit, void *context) {
        uint64_t n;

        return read_lines(path, UINT64_MAX, visit, context, &n);
}

/* --- other namespaces */

static int read_namespace(const char *proc, const char *pid, char *target, size_t size) {
        g_autofree char *path = g_strdup_printf("%s/%s/ns/mnt", proc, pid);
        ssize_t n = readlink(path, target, size - 1);

        if (n < 0)
                return -errno;
        target[n] = '\0';
        return 0;
}

/* As read_lines(), within the share of the user. */
static int read_share(OthersSearch *search, const char *path, uint32_t uid) {
        gpointer key = GUINT_TO_POINTER(uid);
        guint used = GPOINTER_TO_UINT(g_hash_table_lookup(search->of_users, key));
        uint64_t n, left = look_share_left(&mounts_share, uid, used, search->of_all_users,
                                           now_usec() - search->begun_usec);
        int r = read_lines(path, left, search->handler->visit, search->context, &n);

        if (uid == 0)
                return r;
        g_hash_table_insert(search->of_users, key, GUINT_TO_POINTER(used + (guint) n));
        search->of_all_users += n;
        return r;
}

/* One that was not read to the end may be read as that of another user's process. */
static int read_other(OthersSearch *search, const char *pid, uint32_t number) {
        g_autofree char *path = g_strdup_printf("%s/%s/mountinfo", search->proc, pid);
        char target[64];
        ProcessStatus status = { 0 };
        int r = read_namespace(search->proc, pid, target, sizeof(target));

        if (r >= 0 && g_hash_table_contains(search->seen, target))
                return 0;
        if (r >= 0)
                r = program_read_status(search->proc, number, &status);
        if (r >= 0)
                r = read_share(search, path, status.uid);
        if (r < 0)
                return is_gone(r) ? 0 : r;
        if (r > 0)
                search->handler->more(search->context, status.uid);
        else
                g_hash_table_add(search->seen, g_strdup(target));
        return 0;
}

static int read_others(OthersSearch *search) {
        _cleanup_(closedirp) DIR *dir = opendir(search->proc);
        const struct dirent *entry;

        if (!dir)
                return -errno;
        while ((errno = 0, entry = readdir(dir))) {
                uint64_t pid;
                int r;

                if (number_parse(entry->d_name, 10, INT32_MAX, &pid) < 0)
                        continue;
                r = read_other(search, entry->d_name, (uint32_t) pid);
                if (r < 0)
                        return r;
                search->handler->goes_on(search->context);
        }
        return -errno;
}

int mounts_read_others(const char *proc, const MountsHandler *handler, void *context) {
        g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        g_autoptr(GHashTable) of_users = g_hash_table_new(NULL, NULL);
        OthersSearch search = { .proc = proc,
                                .handler = handler,
                                .context = context,
                                .seen = seen,
                                .of_users = of_users,
                                .begun_usec = now_usec() };
        char target[64];
        int r = read_namespace(proc, "1", target, sizeof(target));

        if (r < 0)
                return r;
        g_hash_table_add(seen, g_strdup(target));
        return read_others(&search);
}

int swaps_read(const char *path, SwapVisit *visit, void *context) {
        _cleanup_(fclosep) FILE *file = fopen(path, "re");
        _cleanup_(freep) char *line = NULL;
        size_t size = 0;

        if (!file) /* a kernel without swapping has no such file */
                return errno_means_absent(-errno) ? 0 : -errno;
        while (errno = 0, getline(&line, &size, file) > 0) {
                line[strcspn(line, " \t\n")] = '\0';
                if (line[0] == '/')
                        visit(context, decode(line));
        }
        return -errno;
}
