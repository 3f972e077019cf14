/* systemd.c: stands in for what libsystemd finds without D-Bus, for the tests.
 *
 * Preloaded into the command. In the directory $VFWARDEN_SYSTEMD a symbolic link PID names the unit
 * that the process is in; other processes are in none. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

int sd_pid_get_unit(pid_t pid, char **ret);

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
