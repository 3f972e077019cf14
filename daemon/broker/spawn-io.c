/* The process that becomes vfwarden-io. */
#include "daemon/base/util.h"
#include "daemon/broker/emulated-devices.h"
#include "daemon/broker/packet.h"
#include "daemon/broker/spawn-child.h"
#include "policy/io-report.h"

#include <grp.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>

void spawn_child_run(void *data, int channel) {
        const SpawnTask *task = data;

        if (task->kind == SPAWN_OPEN)
                spawn_open_run(channel);
        else
                spawn_io_run(task->program, channel);
        _exit(EXIT_FAILURE);
}

/* Where the program finds its descriptors, as the arguments tell it. */
#define FD_CONTROL  3
#define FD_DEVICE   4
#define FD_CLIENT   5
#define FD_LISTENER 6

/* An emulated device is a memfd; the kernel's are of no type, or nodes (VFIO_DEVICE_GET_FD). */
static bool is_device(int fd, bool emulated) {
        struct stat st;

        if (fstat(fd, &st) < 0)
                return false;
        return emulated ? S_ISREG(st.st_mode) : (st.st_mode & S_IFMT) == 0 || S_ISCHR(st.st_mode);
}

static bool is_option(int fd, int option, int expected) {
        socklen_t size = sizeof(int);
        int value = -1;

        return getsockopt(fd, SOL_SOCKET, option, &value, &size) >= 0 && value == expected;
}

static bool is_stream_socket(int fd, bool listening) {
        return is_option(fd, SO_DOMAIN, AF_UNIX) && is_option(fd, SO_TYPE, SOCK_STREAM) &&
               is_option(fd, SO_ACCEPTCONN, listening);
}

static void __attribute__((noreturn)) fail(int channel, int error) {
        const IoReport report = { .kind = IO_FAILED, .error = error };

        (void) packet_send(channel, &report, sizeof(report), NULL, 0);
        _exit(EXIT_FAILURE);
}

/* Gives up all privileges. */
static int become(const char *user) {
        struct passwd entry, *found = NULL;
        char buffer[4096];
        int r = getpwnam_r(user, &entry, buffer, sizeof(buffer), &found);

        if (!found)
                return r > 0 && r != ESRCH ? -r : -ENOENT;
        if (setgroups(0, NULL) < 0 || setresgid(entry.pw_gid, entry.pw_gid, entry.pw_gid) < 0 ||
            setresuid(entry.pw_uid, entry.pw_uid, entry.pw_uid) < 0)
                return -errno;
        return 0;
}

static void __attribute__((noreturn))
execute(const SpawnProgram *program, const IoTask *io, int channel, const Packet *packet) {
        char max_mapped[64], driver[sizeof("--driver=") + sizeof(io->driver)];
        const char *arguments[9] = { program->path, "--control=3", "--device=4", driver,
                                     max_mapped };
        bool listens = packet->n_fds == IO_TASK_FDS_MAX;
        unsigned n = 5;
        int r;
        /* Above all four, so that none is overwritten before it was moved. */
        int from[] = { fcntl(channel, F_DUPFD, 10), fcntl(packet->fds[0], F_DUPFD, 10),
                       io->single ? -1 : fcntl(packet->fds[1], F_DUPFD, 10),
                       listens ? fcntl(packet->fds[2], F_DUPFD, 10) : -1 };

        for (int i = 0; i < 4; i++)
                if (from[i] >= 0) {
                        (void) dup2(from[i], FD_CONTROL + i);
                        close(from[i]);
                }
        snprintf(max_mapped, sizeof(max_mapped), "--max-memory=%" PRIu64, io->max_mapped);
        snprintf(driver, sizeof(driver), "--driver=%s", io->driver);
        if (!io->single)
                arguments[n++] = "--client=5";
        if (listens)
                arguments[n++] = "--listener=6";
        if (io->emulated)
                arguments[n++] = EMULATED_DEVICES_OPTION;

        r = become(program->user);
        if (r >= 0) {
                execve(program->path, (char *const *) arguments, (char *const[]){ NULL });
                r = -errno;
        }
        fail(FD_CONTROL, r);
}

void spawn_io_run(const SpawnProgram *program, int channel) {
        char buffer[sizeof(IoTask) + 1];
        Packet packet;
        IoTask io;

        if (packet_receive(channel, buffer, sizeof(buffer), 0, &packet) < 0 ||
            io_task_take(buffer, packet.size, packet.n_fds, &io) < 0 ||
            !is_device(packet.fds[0], io.emulated) ||
            (!io.single && !is_stream_socket(packet.fds[1], false)) ||
            (packet.n_fds == IO_TASK_FDS_MAX && !is_stream_socket(packet.fds[2], true)))
                return;
        execute(program, &io, channel, &packet);
}
