#include "tests/vm/holder/holder.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define IO_INTERVAL_USEC (10 * 1000)

void say(const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        vprintf(format, ap);
        va_end(ap);
        putchar('\n');
        fflush(stdout);
}

void die(const char *format, ...) {
        int error = errno;
        va_list ap;

        va_start(ap, format);
        fputs("failed: ", stdout);
        vprintf(format, ap);
        va_end(ap);
        printf(": %s\n", strerror(error));
        fflush(stdout);
        exit(EXIT_FAILURE);
}

void check(int r, const char *what) {
        if (r < 0) {
                errno = -r;
                die("%s", what);
        }
}

static void close_fd(int *fd) {
        if (*fd >= 0)
                close(*fd);
        *fd = -1;
}

static void open_container(Holder *holder) {
        if (holder->container >= 0)
                return;
        holder->container = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
        if (holder->container < 0)
                die("/dev/vfio/vfio");
}

/* The group's index. The type 1 IOMMU can be set when the container has its first group. */
static unsigned open_group(Holder *holder, const char *address) {
        char path[128], target[256], *number;
        ssize_t n;

        snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/iommu_group", address);
        n = readlink(path, target, sizeof(target) - 1);
        if (n < 0)
                die("%s", path);
        target[n] = '\0';
        number = strrchr(target, '/') + 1;

        for (unsigned i = 0; i < holder->n_groups; i++)
                if (strcmp(holder->groups[i].number, number) == 0 && holder->groups[i].fd >= 0)
                        return i;
        if (holder->n_groups == MAX_DEVICES)
                die("too many groups");

        Group *group = &holder->groups[holder->n_groups];
        snprintf(group->number, sizeof(group->number), "%.15s", number);
        snprintf(path, sizeof(path), "/dev/vfio/%s", group->number);
        group->fd = open(path, O_RDWR | O_CLOEXEC);
        if (group->fd < 0)
                die("%s", path);
        if (!holder->group_only) {
                open_container(holder);
                if (ioctl(group->fd, VFIO_GROUP_SET_CONTAINER, &holder->container) < 0)
                        die("VFIO_GROUP_SET_CONTAINER");
                if (holder->n_groups == 0 &&
                    ioctl(holder->container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU) < 0)
                        die("VFIO_SET_IOMMU");
        }
        return holder->n_groups++;
}

static void close_device(Device *device) {
        if (device->fd < 0)
                return;
        close_fd(&device->fd);
        close_fd(&device->request);
        say("closed %s", device->address);
}

static int on_obey(sd_event_source *source, uint64_t usec, void *userdata) {
        sd_event_source_unref(source);
        close_device(userdata);
        return 0;
}

static int on_request(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        Device *device = userdata;
        uint64_t count;

        if (read(fd, &count, sizeof(count)) < 0)
                return 0;
        say("request %s", device->address);
        if (!device->holder->obey)
                return 0;
        sd_event_source_disable_unref(source);
        check(sd_event_add_time_relative(device->holder->event, &(sd_event_source *){ NULL },
                                         CLOCK_MONOTONIC, device->holder->obey_after_usec, 1,
                                         on_obey, device),
              "timer");
        return 0;
}

static void arm_request(Holder *holder, Device *device) {
        char buffer[sizeof(struct vfio_irq_set) + sizeof(int32_t)]
                __attribute__((aligned(__alignof__(struct vfio_irq_set)))) = { 0 };
        struct vfio_irq_set *set = (void *) buffer;

        device->request = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (device->request < 0)
                die("eventfd");
        set->argsz = sizeof(buffer);
        set->flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER;
        set->index = VFIO_PCI_REQ_IRQ_INDEX;
        set->count = 1;
        memcpy(set->data, &device->request, sizeof(device->request));
        if (ioctl(device->fd, VFIO_DEVICE_SET_IRQS, set) < 0)
                die("VFIO_DEVICE_SET_IRQS");
        check(sd_event_add_io(holder->event, &(sd_event_source *){ NULL }, device->request, EPOLLIN,
                              on_request, device),
              "request eventfd");
}

static int on_io(sd_event_source *source, uint64_t usec, void *userdata) {
        Holder *holder = userdata;

        for (unsigned i = 0; i < holder->n_devices; i++) {
                Device *device = &holder->devices[i];

                if (device->fd < 0 || device->bar_size == 0)
                        continue;
                if (pread(device->fd, &holder->last_read, 4, (off_t) device->bar) == 4)
                        holder->n_reads++;
        }
        (void) sd_event_source_set_time_relative(source, IO_INTERVAL_USEC);
        return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

static void prepare_io(Device *device) {
        uint16_t command = 2;
        struct vfio_region_info config = { .argsz = sizeof(config),
                                           .index = VFIO_PCI_CONFIG_REGION_INDEX };

        if (ioctl(device->fd, VFIO_DEVICE_GET_REGION_INFO, &config) < 0 ||
            pwrite(device->fd, &command, 2, (off_t) config.offset + 4) != 2)
                die("memory of %s cannot be enabled", device->address);
        for (unsigned i = 0; i < VFIO_PCI_ROM_REGION_INDEX && device->bar_size == 0; i++) {
                struct vfio_region_info info = { .argsz = sizeof(info), .index = i };

                if (ioctl(device->fd, VFIO_DEVICE_GET_REGION_INFO, &info) < 0 || info.size < 4)
                        continue;
                device->bar = info.offset;
                device->bar_size = info.size;
        }
}

void holder_open_device(Holder *holder, const char *address) {
        unsigned group = open_group(holder, address);
        Device *device = &holder->devices[holder->n_devices];

        if (holder->n_devices == MAX_DEVICES)
                die("too many devices");
        *device = (Device){
                .holder = holder, .fd = -1, .request = -1, .group = holder->groups[group].fd
        };
        snprintf(device->address, sizeof(device->address), "%.31s", address);
        holder->n_devices++;
        if (holder->group_only) {
                say("opened %s -1", address);
                return;
        }
        device->fd = ioctl(device->group, VFIO_GROUP_GET_DEVICE_FD, address);
        if (device->fd < 0)
                die("VFIO_GROUP_GET_DEVICE_FD %s", address);
        if (holder->arm)
                arm_request(holder, device);
        if (holder->io)
                prepare_io(device);
        say("opened %s %d", address, device->fd);
}

void holder_close_devices(Holder *holder, const char *address) {
        for (unsigned i = 0; i < holder->n_devices; i++)
                if (!address || strcmp(address, holder->devices[i].address) == 0)
                        close_device(&holder->devices[i]);
}

void holder_close_groups(Holder *holder) {
        for (unsigned i = 0; i < holder->n_groups; i++)
                close_fd(&holder->groups[i].fd);
}

void holder_close_container(Holder *holder) {
        close_fd(&holder->container);
}

void holder_start_reads(Holder *holder) {
        check(sd_event_add_time_relative(holder->event, NULL, CLOCK_MONOTONIC, 0, 1, on_io, holder),
              "reads");
}

static Device *first_device(Holder *holder) {
        for (unsigned i = 0; i < holder->n_devices; i++)
                if (holder->devices[i].fd >= 0)
                        return &holder->devices[i];
        errno = ENODEV;
        die("no device is open");
}

/* --- descriptors over sockets */

static void send_fd(int through, int fd) {
        char byte = 0, control[CMSG_SPACE(sizeof(int))] = { 0 };
        struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
        struct msghdr message = { .msg_iov = &iov,
                                  .msg_iovlen = 1,
                                  .msg_control = control,
                                  .msg_controllen = sizeof(control) };
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);

        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(header), &fd, sizeof(int));
        if (sendmsg(through, &message, 0) < 0)
                die("sendmsg");
}

static int receive_fd(int through) {
        char byte, control[CMSG_SPACE(sizeof(int))];
        struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
        struct msghdr message = { .msg_iov = &iov,
                                  .msg_iovlen = 1,
                                  .msg_control = control,
                                  .msg_controllen = sizeof(control) };
        int fd = -1;

        if (recvmsg(through, &message, MSG_CMSG_CLOEXEC) < 0)
                die("recvmsg");
        for (struct cmsghdr *h = CMSG_FIRSTHDR(&message); h; h = CMSG_NXTHDR(&message, h))
                if (h->cmsg_level == SOL_SOCKET && h->cmsg_type == SCM_RIGHTS)
                        memcpy(&fd, CMSG_DATA(h), sizeof(int));
        if (fd < 0)
                die("no descriptor came");
        return fd;
}

static struct sockaddr_un socket_address(const char *path) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };

        snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
        return address;
}

static void pass(const char *path, int fd) {
        struct sockaddr_un address = socket_address(path);
        int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        if (s < 0 || connect(s, (struct sockaddr *) &address, sizeof(address)) < 0)
                die("%s", path);
        send_fd(s, fd);
        close(s);
}

void holder_pass_device(Holder *holder, const char *path) {
        pass(path, first_device(holder)->fd);
}

void holder_pass_group(Holder *holder, const char *path) {
        pass(path, holder->groups[0].fd);
}

void holder_park(Holder *holder) {
        Device *device = first_device(holder);

        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, holder->parked) < 0)
                die("socketpair");
        send_fd(holder->parked[0], device->fd);
        close_fd(&device->fd);
}

void holder_unpark(Holder *holder) {
        holder->devices[0].fd = receive_fd(holder->parked[1]);
        close_fd(&holder->parked[0]);
        close_fd(&holder->parked[1]);
}

static int on_connection(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        Holder *holder = userdata;
        int s = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

        if (s < 0)
                die("accept");
        Device *device = &holder->devices[holder->n_devices++];
        *device = (Device){
                .holder = holder, .fd = receive_fd(s), .request = -1, .address = "received"
        };
        close(s);
        say("received");
        return 0;
}

void holder_receive_at(Holder *holder, const char *path) {
        struct sockaddr_un address = socket_address(path);

        unlink(path);
        holder->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (holder->listener < 0 ||
            bind(holder->listener, (struct sockaddr *) &address, sizeof(address)) < 0 ||
            listen(holder->listener, 8) < 0)
                die("%s", path);
        check(sd_event_add_io(holder->event, NULL, holder->listener, EPOLLIN, on_connection,
                              holder),
              "listener");
}

/* --- a child */

void holder_fork(Holder *holder) {
        holder->child = fork();
        if (holder->child < 0)
                die("fork");
        if (holder->child == 0) {
                sigset_t none;

                (void) prctl(PR_SET_NAME, "vfio-child");
                sigemptyset(&none);
                close(STDIN_FILENO);
                close(STDOUT_FILENO);
                for (;;)
                        sigsuspend(&none);
        }
}

void holder_kill_child(Holder *holder) {
        (void) kill(holder->child, SIGKILL);
        (void) waitpid(holder->child, NULL, 0);
}
