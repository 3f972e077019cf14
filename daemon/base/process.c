#include "daemon/base/process.h"

#include "daemon/base/util.h"
#include "policy/absence.h"
#include "policy/client-text.h"
#include "policy/machine-name.h"
#include "policy/number.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <systemd/sd-login.h>

#define COMM_READ_MAX   64
#define STATUS_READ_MAX 4096
#define STAT_READ_MAX   4096
/* So many threads of one process are asked whether they go on; of root's, all. Those that have
 * ended are gone, unless somebody traces them (exit_notify() in kernel/exit.c). */
#define THREADS_MAX 256
/* Fields of /proc/PID/stat, counted from the one behind the command's name. */
#define STAT_PARENT     1
#define STAT_START_TIME 19

bool process_has_ended(int r) {
        return errno_means_absent(r) || r == -ESRCH;
}

/* Files in /proc/PID are read in one piece. Returns the length; `value` is NUL-terminated. */
static ssize_t process_read_file_at(int folder, const char *path, char *value, size_t size) {
        _cleanup_(closep) int fd = openat(folder, path, O_RDONLY | O_CLOEXEC);
        size_t length = 0;
        ssize_t n;

        if (fd < 0)
                return errno == ENOENT ? -ESRCH : -errno;
        while (length < size - 1) {
                n = read(fd, value + length, size - 1 - length);
                if (n < 0)
                        return -errno;
                if (n == 0)
                        break;
                length += (size_t) n;
        }
        value[length] = '\0';
        return (ssize_t) length;
}

static ssize_t process_read_file(pid_t pid, const char *name, char *value, size_t size) {
        char path[64];

        snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
        return process_read_file_at(AT_FDCWD, path, value, size);
}

char *process_format_command(const char *cmdline, size_t size) {
        g_autofree char *words = NULL, *valid = NULL;
        size_t length = size;
        char *cut;

        while (length > 0 && cmdline[length - 1] == '\0')
                length--;
        words = g_strndup("", length);
        memcpy(words, cmdline, length);
        for (size_t i = 0; i < length; i++)
                if (words[i] == '\0')
                        words[i] = ' ';
        words[length] = '\0';

        valid = client_text_make_valid(words, -1);
        if (strlen(valid) <= PROCESS_COMMAND_MAX)
                return g_steal_pointer(&valid);

        /* At the end of a word, if there is one. */
        cut = g_strrstr_len(valid, PROCESS_COMMAND_MAX + 1, " ");
        if (!cut || cut == valid)
                cut = g_utf8_find_prev_char(valid, valid + PROCESS_COMMAND_MAX + 1);
        return g_strndup(valid, (gsize) (cut - valid));
}

static char *read_comm(pid_t pid) {
        char buffer[COMM_READ_MAX];
        ssize_t n = process_read_file(pid, "comm", buffer, sizeof(buffer));

        if (n > 0 && buffer[n - 1] == '\n')
                n--;
        return process_format_command(buffer, n > 0 ? (size_t) n : 0);
}

ssize_t process_read_command(pid_t pid, char *words, size_t size) {
        return process_read_file(pid, "cmdline", words, size);
}

static int read_status_and_groups(pid_t pid, ProcessStatus *ret, ProcessGroups *ret_groups) {
        char buffer[STATUS_READ_MAX];
        ssize_t n;

        n = process_read_file(pid, "status", buffer, sizeof(buffer));
        if (n < 0)
                return (int) n;
        if (process_status_parse(buffer, ret) < 0)
                return -EIO;
        if (ret_groups)
                process_groups_parse(buffer, ret_groups);
        return 0;
}

int process_read_status(pid_t pid, ProcessStatus *ret) {
        return read_status_and_groups(pid, ret, NULL);
}

int process_read_owner(pid_t pid, uint32_t *ret_uid, ProcessGroups *ret_groups) {
        ProcessStatus status;
        int r = read_status_and_groups(pid, &status, ret_groups);

        if (r >= 0)
                *ret_uid = status.uid;
        return r;
}

int process_read_uid(pid_t pid, uint32_t *ret) {
        return process_read_owner(pid, ret, NULL);
}

/* Returns 1, 0, or a negative errno. */
static int thread_is_live(int threads, const char *number) {
        g_autofree char *name = g_strconcat(number, "/status", NULL);
        char buffer[STATUS_READ_MAX];
        ProcessStatus status;
        ssize_t n = process_read_file_at(threads, name, buffer, sizeof(buffer));

        if (n == -ESRCH)
                return 0;
        if (n < 0)
                return (int) n;
        return process_status_parse(buffer, &status) < 0 ? -EIO : !status.ended;
}

int process_find_thread(const char *proc, pid_t pid, const ProcessStatus *status, pid_t *ret) {
        g_autofree char *path = g_strdup_printf("%s/%d/task", proc, pid);
        _cleanup_(closedirp) DIR *dir = NULL;
        unsigned max = status->uid == 0 ? UINT_MAX : THREADS_MAX;
        const struct dirent *entry;
        uint64_t number;
        int r;

        *ret = pid;
        if (!status->ended)
                return 0;
        dir = opendir(path);
        if (!dir)
                return errno == ENOENT ? -ESRCH : -errno;
        for (unsigned n = 0; n < max; n++) {
                errno = 0;
                entry = readdir(dir);
                if (!entry)
                        return errno > 0 ? -errno : -ESRCH;
                if (number_parse(entry->d_name, 10, INT_MAX, &number) < 0)
                        continue;
                r = thread_is_live(dirfd(dir), entry->d_name);
                if (r > 0)
                        *ret = (pid_t) number;
                if (r != 0)
                        return MIN(r, 0);
        }
        return -ESRCH;
}

int process_find_live_thread(pid_t pid, pid_t *ret) {
        ProcessStatus status;
        int r = process_read_status(pid, &status);

        return r < 0 ? r : process_find_thread("/proc", pid, &status, ret);
}

static char *valid_or_empty(char *from_malloc) {
        char *valid = client_text_make_valid(from_malloc ? from_malloc : "", -1);

        free(from_malloc);
        return valid;
}

static char *read_unit(pid_t pid) {
        char *text = NULL;

        if (sd_pid_get_unit(pid, &text) < 0)
                text = NULL;
        return valid_or_empty(text);
}

static char *read_machine(pid_t pid, const char *unit) {
        g_autofree char *name = NULL;
        char *text = NULL, *machine;

        if (sd_pid_get_machine_name(pid, &text) >= 0) {
                name = valid_or_empty(text);
                return g_strdup(machine_name_short(name));
        }
        machine = machine_name_from_unit(unit);
        return machine ? machine : g_strdup("");
}

/* /proc/PID/stat, from behind the command's name, which may contain anything: the state is the
 * field 0. */
static int read_stat(pid_t pid, char ***ret_fields) {
        g_auto(GStrv) fields = NULL;
        char text[STAT_READ_MAX];
        const char *behind;
        ssize_t n;

        n = process_read_file(pid, "stat", text, sizeof(text));
        if (n < 0)
                return (int) n;
        behind = strrchr(text, ')');
        if (!behind || behind[1] != ' ')
                return -EBADMSG;
        fields = g_strsplit(behind + 2, " ", -1);
        if (g_strv_length(fields) <= STAT_START_TIME)
                return -EBADMSG;
        *ret_fields = g_steal_pointer(&fields);
        return 0;
}

int process_read_start_time(pid_t pid, uint64_t *ret) {
        g_auto(GStrv) fields = NULL;
        int r = read_stat(pid, &fields);

        return r < 0 ? r : number_parse(fields[STAT_START_TIME], 10, UINT64_MAX - 1, ret);
}

bool process_is_running(pid_t pid) {
        g_auto(GStrv) fields = NULL;

        return read_stat(pid, &fields) >= 0 && fields[0][0] == 'R';
}

void process_facts_clear(ProcessFacts *facts) {
        g_clear_pointer(&facts->comm, g_free);
        g_clear_pointer(&facts->unit, g_free);
        g_clear_pointer(&facts->machine, g_free);
}

/* Returns 0, or a negative errno. */
static int process_read_identity(pid_t pid, pid_t *ret_parent, uint64_t *ret_start_time) {
        g_auto(GStrv) fields = NULL;
        uint64_t parent = 0;
        int r;

        r = read_stat(pid, &fields);
        if (r >= 0)
                r = number_parse(fields[STAT_START_TIME], 10, UINT64_MAX - 1, ret_start_time);
        if (r >= 0)
                r = number_parse(fields[STAT_PARENT], 10, INT_MAX, &parent);
        *ret_parent = (pid_t) parent;
        return r;
}

int process_read_facts(pid_t pid, bool stat, ProcessFacts *ret) {
        g_auto(ProcessFacts) facts = { 0 };
        uint64_t again = 0;
        int r = 0;

        if (stat)
                r = process_read_identity(pid, &facts.parent, &facts.start_time);
        if (r >= 0)
                r = process_read_uid(pid, &facts.uid);
        if (r < 0)
                return r;
        facts.comm = read_comm(pid);
        facts.unit = read_unit(pid);
        facts.machine = read_machine(pid, facts.unit);
        /* All was the same process's if it still is there. */
        r = stat ? process_read_start_time(pid, &again) : 0;
        if (r < 0 || again != facts.start_time)
                return -ESRCH;
        *ret = facts;
        memset(&facts, 0, sizeof(facts));
        return 0;
}

void process_describe(pid_t pid, char **ret_name, char **ret_unit) {
        *ret_name = read_comm(pid);
        *ret_unit = read_unit(pid);
}

/* The number of a cgroup is its inode's. Without the unified hierarchy there is no such
 * directory. */
static bool is_elsewhere(pid_t pid, uint64_t cgroup) {
        g_autofree char *path = NULL;
        char *group = NULL;
        struct stat st;

        if (cgroup == 0 || sd_pid_get_cgroup(pid, &group) < 0)
                return false;
        path = g_strconcat("/sys/fs/cgroup", group, NULL);
        free(group);
        return stat(path, &st) >= 0 && st.st_ino != cgroup;
}

char *process_find_unit(pid_t pid, uint64_t cgroup) {
        char *unit = read_unit(pid);

        if (is_elsewhere(pid, cgroup))
                unit[0] = '\0';
        return unit;
}

const char *process_system_dev(void) {
        static const char dev[] = "/proc/1/root/dev";

        return access(dev, F_OK) == 0 ? dev : "/dev";
}
