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
#include <sys/resource.h>
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
#define FD_CONTROL   3
#define FD_DEVICE    4
#define FD_CLIENT    5
#define FD_LISTENER  6
#define FD_CONTAINER 7

/* Each with its number. */
static const char *const fd_options[] = {
        [FD_CONTROL] = "--control=3",     [FD_DEVICE] = "--device=4",
        [FD_CLIENT] = "--client=5",       [FD_LISTENER] = "--listener=6",
        [FD_CONTAINER] = "--container=7",
};

#define N_FDS G_N_ELEMENTS(fd_options)

/* An emulated device is a memfd; the kernel's are of no type, or nodes (VFIO_DEVICE_GET_FD). */
static bool is_device(int fd, bool emulated) {
        struct stat st;

        if (fstat(fd, &st) < 0)
                return false;
        return emulated ? S_ISREG(st.st_mode) : (st.st_mode & S_IFMT) == 0 || S_ISCHR(st.st_mode);
}

/* The node /dev/vfio/vfio. */
static bool is_container(int fd) {
        struct stat st;

        return fstat(fd, &st) >= 0 && S_ISCHR(st.st_mode);
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

/* VFIO holds what a process has pinned against this limit of the process (vfio_lock_acct()), so
 * each session has its own. To raise it may take a capability; the service's limit is infinite. */
static int allow_pinning(uint64_t bytes) {
        const struct rlimit limit = { bytes, bytes };

        return setrlimit(RLIMIT_MEMLOCK, &limit) < 0 ? -errno : 0;
}

/* Moves the descriptors to where the program finds them, and adds their options to the arguments.
 * Returns how many. */
static unsigned place_fds(const IoTask *io, int channel, const Packet *packet,
                          const char **arguments) {
        const bool given[N_FDS] = {
                [FD_CONTROL] = true,
                [FD_DEVICE] = true,
                [FD_CLIENT] = !io->single,
                [FD_LISTENER] = io->listens,
                [FD_CONTAINER] = io_task_has_container(io),
        };
        unsigned n = 0, taken = 0;
        int from[N_FDS] = { 0 };

        /* Above all of them, so that none is overwritten before it was moved. */
        for (int fd = FD_CONTROL; fd < (int) N_FDS; fd++)
                if (given[fd])
                        from[fd] = fcntl(fd == FD_CONTROL ? channel : packet->fds[taken++], F_DUPFD,
                                         10);
        for (int fd = FD_CONTROL; fd < (int) N_FDS; fd++)
                if (given[fd]) {
                        (void) dup2(from[fd], fd);
                        close(from[fd]);
                        arguments[n++] = fd_options[fd];
                }
        return n;
}

static void __attribute__((noreturn))
execute(const SpawnProgram *program, const IoTask *io, int channel, const Packet *packet) {
        char max_mapped[64], driver[sizeof("--driver=") + sizeof(io->driver)];
        const char *arguments[N_FDS + 6] = { program->path };
        unsigned n = 1;
        int r = 0;

        n += place_fds(io, channel, packet, arguments + n);
        arguments[n++] = driver;
        arguments[n++] = max_mapped;
        snprintf(max_mapped, sizeof(max_mapped), "--max-memory=%" PRIu64, io->max_mapped);
        snprintf(driver, sizeof(driver), "--driver=%s", io->driver);
        if (io->emulated)
                arguments[n++] = EMULATED_DEVICES_OPTION;
        if (io->dma)
                arguments[n++] = "--dma";

        if (io_task_has_container(io))
                r = allow_pinning(io->max_mapped);
        if (r >= 0)
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
            (io.listens && !is_stream_socket(packet.fds[2], true)) ||
            (io_task_has_container(&io) && !is_container(packet.fds[packet.n_fds - 1])))
                return;
        execute(program, &io, channel, &packet);
}
