/* systemd.c: stands in for what libsystemd finds without D-Bus, for the tests.
 *
 * Preloaded into the command. In the directory $VFWARDEN_SYSTEMD a symbolic link PID names the unit
 * that the process is in; other processes are in none. The file "journal" gets a line for each
 * message to the journal, its priority first. */
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

int sd_pid_get_unit(pid_t pid, char **ret);
int sd_journal_print_with_location(int priority, const char *file, const char *line,
                                   const char *function, const char *format, ...)
        __attribute__((format(printf, 5, 6)));

__attribute__((visibility("default"))) int sd_pid_get_unit(pid_t pid, char **ret) {
        const char *directory = getenv("VFWARDEN_SYSTEMD");
        char path[PATH_MAX], unit[PATH_MAX];
        ssize_t n;

        snprintf(path, sizeof(path), "%s/%d", directory ? directory : "", (int) pid);
        n = readlink(path, unit, sizeof(unit) - 1);
        if (n < 0)
                return -ENODATA;
        unit[n] = '\0';
        *ret = strdup(unit);
        return *ret ? 0 : -ENOMEM;
}

__attribute__((visibility("default"))) int sd_journal_print_with_location(int priority,
                                                                          const char *file,
                                                                          const char *line,
                                                                          const char *function,
                                                                          const char *format, ...) {
        const char *directory = getenv("VFWARDEN_SYSTEMD");
        char path[PATH_MAX];
        va_list arguments;
        FILE *journal;

        (void) file, (void) line, (void) function;
        snprintf(path, sizeof(path), "%s/journal", directory ? directory : "");
        journal = fopen(path, "ae");
        if (!journal)
                return -errno;
        fprintf(journal, "%d ", priority);
        va_start(arguments, format);
        vfprintf(journal, format, arguments);
        va_end(arguments);
        fputc('\n', journal);
        return fclose(journal) == 0 ? 0 : -errno;
}
