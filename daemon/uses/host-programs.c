#include "daemon/uses/host-programs.h"

#include "daemon/base/util.h"
#include "daemon/uses/program-files.h"
#include "daemon/uses/program-watch.h"
#include "policy/absence.h"
#include "policy/number.h"

#include <inttypes.h>
#include <limits.h>
#include <poll.h>

/* Of the processes of one user that is not root, so many descriptors are looked at, and of all such
 * users together. Who hides a device behind more of them loses it; nobody else waits for that. */
#define OF_USER_MAX  65536U
#define OF_USERS_MAX (4 * OF_USER_MAX)

typedef struct ProgramLook {
        UseChild *child;
        GHashTable *of_users; /* uid -> number of descriptors looked at */
        unsigned of_all_users;
} ProgramLook;

/* How many more descriptors of the user are looked at. */
static unsigned allowance_of(const ProgramLook *look, uint32_t uid) {
        guint used = GPOINTER_TO_UINT(g_hash_table_lookup(look->of_users, GUINT_TO_POINTER(uid)));

        if (uid == 0)
                return UINT_MAX;
        return MIN(OF_USER_MAX - used, OF_USERS_MAX - look->of_all_users);
}

static void take_from_allowance(ProgramLook *look, uint32_t uid, unsigned n) {
        gpointer key = GUINT_TO_POINTER(uid);
        guint used = GPOINTER_TO_UINT(g_hash_table_lookup(look->of_users, key));

        if (uid == 0)
                return;
        g_hash_table_insert(look->of_users, key, GUINT_TO_POINTER(used + n));
        look->of_all_users += n;
}

static void on_file(void *context, const ProgramFile *file) {
        static const UseKind kinds[_DEVICE_FILE_MAX] = {
                [DEVICE_FILE_UIO] = USE_PROGRAM_UIO,
                [DEVICE_FILE_RESOURCE] = USE_PROGRAM_RESOURCE,
                [DEVICE_FILE_CONFIG] = USE_PROGRAM_CONFIG,
        };
        const ProgramLook *look = context;
        g_autofree char *by = g_strdup_printf("%s (pid %" PRIu32 ")", file->program, file->pid);

        use_child_add(look->child, file->key, kinds[file->kind], file->name, by, file->pid);
}

static int look_at_program(ProgramLook *look, const char *proc, const char *name) {
        uint64_t pid;
        ProgramProcess process = { .proc = proc, .found = on_file, .context = look };
        unsigned n = 0;
        int r;

        if (number_parse(name, 10, INT_MAX, &pid) < 0)
                return 0;
        process.pid = (uint32_t) pid;
        r = program_open(&process);
        if (r >= 0)
                r = program_read(&process, allowance_of(look, process.status.uid), &n);
        take_from_allowance(look, process.status.uid, n);
        program_close(&process);
        /* It has ended. */
        return r == -ESRCH || errno_means_absent(r) ? 0 : r;
}

static int look_at_programs(UseChild *child, void *state) {
        g_autoptr(GHashTable) of_users = g_hash_table_new(NULL, NULL);
        ProgramLook look = { .child = child, .of_users = of_users };
        const char *proc = use_child_proc(child);
        _cleanup_(closedirp) DIR *dir = opendir(proc);
        const struct dirent *entry;
        int error = 0;

        if (!dir)
                return -errno;
        while ((errno = 0, entry = readdir(dir))) {
                int r = look_at_program(&look, proc, entry->d_name);

                if (r < 0)
                        error = r;
        }
        return errno != 0 ? -errno : error;
}

static int open_programs(UseChild *child, void **ret_state) {
        ProgramWatch *watch;
        int r = program_watch_new(&watch);

        if (r < 0)
                return r;
        use_child_watch(child, program_watch_inotify(watch), POLLIN);
        use_child_watch(child, program_watch_uevents(watch), POLLIN);
        use_child_watch(child, program_watch_timer(watch), POLLIN);
        program_watch_all(watch);
        *ret_state = watch;
        return 0;
}

static bool take_program_event(void *state, int fd) {
        return program_watch_take(state, fd);
}

const UseSource host_programs = {
        .name = "vfwarden-progs",
        .what = "programs",
        .open = open_programs,
        .event = take_program_event,
        .look = look_at_programs,
};
