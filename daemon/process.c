#include "daemon/process.h"

#include "daemon/util.h"
#include "policy/machine-name.h"
#include "policy/number.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <systemd/sd-login.h>

/* Whoever reads a command line reads a little more of it than is shown, to cut at a word. */
#define CMDLINE_READ_MAX 4096
#define STAT_READ_MAX    4096

int process_open_directory(pid_t pid) {
        char path[32];
        int fd;

        snprintf(path, sizeof(path), "/proc/%d", pid);
        fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
        return fd < 0 ? -errno : fd;
}

/* Files in /proc/PID are read in one piece. Returns the length; `value` is NUL-terminated. */
static ssize_t read_file(int procfd, const char *name, char *value, size_t size) {
        _cleanup_(closep) int fd = -1;
        size_t length = 0;
        ssize_t n;

        fd = openat(procfd, name, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
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

        valid = g_utf8_make_valid(words, -1);
        for (char *p = valid; *p != '\0'; p = g_utf8_next_char(p))
                if (g_unichar_iscntrl(g_utf8_get_char(p))) /* U+0080..U+009F have two bytes */
                        memset(p, ' ', (size_t) (g_utf8_next_char(p) - p));
        if (strlen(valid) <= PROCESS_COMMAND_MAX)
                return g_steal_pointer(&valid);

        /* At the end of a word, if there is one. */
        cut = g_strrstr_len(valid, PROCESS_COMMAND_MAX + 1, " ");
        if (!cut || cut == valid)
                cut = g_utf8_find_prev_char(valid, valid + PROCESS_COMMAND_MAX + 1);
        return g_strndup(valid, (gsize) (cut - valid));
}

static char *read_command(int procfd) {
        char buffer[CMDLINE_READ_MAX];
        ssize_t n;

        n = read_file(procfd, "cmdline", buffer, sizeof(buffer));
        if (n <= 0) {
                n = read_file(procfd, "comm", buffer, sizeof(buffer));
                if (n > 0 && buffer[n - 1] == '\n')
                        n--;
        }
        return process_format_command(buffer, n > 0 ? (size_t) n : 0);
}

static int read_uid(int procfd, uint32_t *ret) {
        char buffer[CMDLINE_READ_MAX];
        ssize_t n;

        n = read_file(procfd, "status", buffer, sizeof(buffer));
        if (n < 0)
                return (int) n;

        /* "Uid:\tREAL\tEFFECTIVE\tSAVED\tFILESYSTEM" */
        const char *line = strstr(buffer, "\nUid:\t");
        g_auto(GStrv) uids = line ? g_strsplit(line + strlen("\nUid:\t"), "\t", 4) : NULL;
        uint64_t uid;

        if (!uids || g_strv_length(uids) < 4 || number_parse(uids[1], 10, UINT32_MAX, &uid) < 0)
                return -EIO;
        *ret = (uint32_t) uid;
        return 0;
}

static bool is_running(int pidfd) {
        return syscall(SYS_pidfd_send_signal, pidfd, 0, NULL, 0) == 0 || errno == EPERM;
}

static bool replace(char **string, char *value) {
        bool differs = g_strcmp0(*string, value) != 0;

        g_free(*string);
        *string = value;
        return differs;
}

static char *utf8_or_empty(char *from_malloc) {
        char *valid = g_utf8_make_valid(from_malloc ? from_malloc : "", -1);

        free(from_malloc);
        return valid;
}

bool process_refresh(Process *process) {
        g_autofree char *command = NULL, *unit = NULL, *machine = NULL;
        char *text = NULL;
        uint32_t uid;
        bool differs;

        /* libsystemd takes a pid; it was ours if the process still runs afterwards. */
        if (read_uid(process->procfd, &uid) < 0)
                return false;
        command = read_command(process->procfd);
        if (sd_pid_get_unit(process->pid, &text) < 0)
                text = NULL;
        unit = utf8_or_empty(text);
        text = NULL;
        if (sd_pid_get_machine_name(process->pid, &text) < 0)
                text = NULL;
        if (text) {
                g_autofree char *name = utf8_or_empty(text);

                machine = g_strdup(machine_name_short(name));
        } else
                machine = machine_name_from_unit(unit);
        if (!machine)
                machine = g_strdup("");
        if (!is_running(process->pidfd))
                return false;

        differs = uid != process->uid;
        process->uid = uid;
        differs |= replace(&process->command, g_steal_pointer(&command));
        differs |= replace(&process->unit, g_steal_pointer(&unit));
        differs |= replace(&process->machine, g_steal_pointer(&machine));
        return differs;
}

int process_new(pid_t pid, int procfd, Process **ret) {
        g_autoptr(Process) process = g_new0(Process, 1);

        *process = (Process){ .pid = pid, .procfd = procfd };
        process->pidfd = (int) syscall(SYS_pidfd_open, pid, 0);
        if (process->pidfd < 0)
                return -errno;
        (void) fcntl(process->pidfd, F_SETFD, FD_CLOEXEC);
        /* The pid was opened after the directory: if the directory still has its process, both are the same. */
        if (read_uid(procfd, &process->uid) < 0)
                return -ESRCH;
        process->command = g_strdup("");
        process->unit = g_strdup("");
        process->machine = g_strdup("");
        (void) process_refresh(process);
        *ret = g_steal_pointer(&process);
        return 0;
}

void process_describe(pid_t pid, char **ret_command, char **ret_unit) {
        g_autoptr(Process) process = NULL;
        int procfd = process_open_directory(pid);

        if (procfd >= 0)
                (void) process_new(pid, procfd, &process);
        *ret_command = g_strdup(process ? process->command : "");
        *ret_unit = g_strdup(process ? process->unit : "");
}

/* The 22nd field of /proc/PID/stat, counted from behind the command's name, which may contain anything. */
int process_read_start_time(pid_t pid, uint64_t *ret) {
        g_autofree char *path = g_strdup_printf("/proc/%d/stat", pid);
        g_auto(GStrv) fields = NULL;
        char text[STAT_READ_MAX];
        const char *behind;
        ssize_t n;

        n = read_file(AT_FDCWD, path, text, sizeof(text));
        if (n < 0)
                return n == -ENOENT ? -ESRCH : (int) n;
        behind = strrchr(text, ')');
        if (!behind)
                return -EBADMSG;
        fields = g_strsplit(behind, " ", -1);
        if (g_strv_length(fields) < 21)
                return -EBADMSG;
        return number_parse(fields[20], 10, UINT64_MAX - 1, ret);
}

Process *process_free(Process *process) {
        if (!process)
                return NULL;
        closep(&process->pidfd);
        closep(&process->procfd);
        g_free(process->command);
        g_free(process->unit);
        g_free(process->machine);
        g_free(process);
        return NULL;
}
