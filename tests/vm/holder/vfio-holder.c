/* vfio-holder: a program that has PCI functions open through VFIO, as a virtual machine monitor
 * would, and does with them what a scenario tells it.
 *
 *   vfio-holder [OPTION...] ADDRESS...     opens the functions over their groups (type 1 container)
 *   vfio-holder [OPTION...] --receive=PATH listens at a socket for a descriptor and keeps it
 *
 *   --group-only          opens the group and no device
 *   --request=obey|refuse arms VFIO_PCI_REQ_IRQ_INDEX; `obey` closes the device when asked,
 * `refuse` only says so. Without it no eventfd is armed.
 *   --unplug=MSEC         listens on the system bus for UnplugRequested of its functions and ends
 * then
 *   --obey-after=MSEC     how long `obey` takes (default 0)
 *   --io                  reads the first BAR that has memory, a hundred times a second
 *
 * Orders are lines on standard input, each answered by one line on standard output when it is done:
 *   open ADDRESS    "opened ADDRESS FD": another function
 *   close-group     "group closed"
 *   close-container "container closed"
 *   close-device [ADDRESS] "closed ADDRESS" each
 *   fork            "child PID": a child that has all that this has, and only holds
 *   kill-child      "child ended"
 *   pass PATH       "passed": sends the (first) device's descriptor to who listens there
 *   pass-group PATH "passed": the group's
 *   park            "parked": puts the device's descriptor into a socket pair and closes it
 * otherwise unpark          "unparked" io              "io N": how many reads so far, and what the
 * last gave, in hexadecimal end             ends, with status 0 Without orders it holds until it is
 * killed; the end of standard input is no order. What happens is said as it happens: "opened
 * ADDRESS FD", "request ADDRESS", "closed ADDRESS", "unplug ADDRESS DEADLINE", "received", "ready"
 * (once, when all options are carried out). */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/vfio.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#define MAX_DEVICES      16
#define IO_INTERVAL_USEC (10 * 1000)

typedef struct Device {
        char address[32];
        int fd, request, group;
        uint64_t bar, bar_size;
} Device;

typedef struct Group {
        char number[16];
        int fd;
} Group;

typedef struct Holder {
        sd_event *event;
        sd_event_source *input;
        sd_bus *bus;
        int container, listener, parked[2];
        Group groups[MAX_DEVICES];
        unsigned n_groups;
        Device devices[MAX_DEVICES];
        unsigned n_devices;
        pid_t child;
        bool arm, obey, group_only, io;
        uint64_t obey_after_usec;
        int64_t unplug_usec; /* -1: does not listen */
        uint64_t n_reads;
        uint32_t last_read;
        char line[4096];
        size_t line_length;
} Holder;

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        vprintf(format, ap);
        va_end(ap);
        putchar('\n');
        fflush(stdout);
}

static void die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
static void die(const char *format, ...) {
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

static void check(int r, const char *what) {
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

static Holder *the_holder; /* for callbacks that have a device for their context */

static int on_request(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        Device *device = userdata;
        uint64_t count;

        if (read(fd, &count, sizeof(count)) < 0)
                return 0;
        say("request %s", device->address);
        if (!the_holder->obey)
                return 0;
        sd_event_source_disable_unref(source);
        check(sd_event_add_time_relative(the_holder->event, &(sd_event_source *){ NULL },
                                         CLOCK_MONOTONIC, the_holder->obey_after_usec, 1, on_obey,
                                         device),
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

static void open_device(Holder *holder, const char *address) {
        unsigned group = open_group(holder, address);
        Device *device = &holder->devices[holder->n_devices];

        if (holder->n_devices == MAX_DEVICES)
                die("too many devices");
        *device = (Device){ .fd = -1, .request = -1, .group = holder->groups[group].fd };
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

static int on_connection(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        Holder *holder = userdata;
        int s = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

        if (s < 0)
                die("accept");
        Device *device = &holder->devices[holder->n_devices++];
        *device = (Device){ .fd = receive_fd(s), .request = -1, .address = "received" };
        close(s);
        say("received");
        return 0;
}

static void listen_at(Holder *holder, const char *path) {
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

/* --- D-Bus */

static int on_time_to_end(sd_event_source *source, uint64_t usec, void *userdata) {
        Holder *holder = userdata;

        for (unsigned i = 0; i < holder->n_devices; i++)
                close_device(&holder->devices[i]);
        return sd_event_exit(holder->event, 0);
}

static int on_unplug_requested(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        Holder *holder = userdata;
        char *address = NULL;
        uint64_t deadline;

        if (sd_bus_path_decode(sd_bus_message_get_path(message), "/org/vfwarden1/function",
                               &address) <= 0 ||
            sd_bus_message_read(message, "t", &deadline) < 0) {
                free(address);
                return 0;
        }
        for (unsigned i = 0; i < holder->n_devices; i++) {
                if (strcmp(holder->devices[i].address, address) != 0)
                        continue;
                say("unplug %s %llu", address, (unsigned long long) deadline);
                check(sd_event_add_time_relative(holder->event, NULL, CLOCK_MONOTONIC,
                                                 (uint64_t) holder->unplug_usec, 1, on_time_to_end,
                                                 holder),
                      "timer");
        }
        free(address);
        return 0;
}

static void listen_on_bus(Holder *holder) {
        check(sd_bus_open_system(&holder->bus), "system bus");
        check(sd_bus_match_signal(holder->bus, NULL, "org.vfwarden1", NULL,
                                  "org.vfwarden1.Function", "UnplugRequested", on_unplug_requested,
                                  holder),
              "match");
        check(sd_bus_attach_event(holder->bus, holder->event, 0), "bus");
}

/* --- orders */

static void fork_child(Holder *holder) {
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
        say("child %d", holder->child);
}

static void obey_order(Holder *holder, char *order) {
        char *argument = strchr(order, ' ');

        if (argument)
                *argument++ = '\0';
        if (strcmp(order, "open") == 0 && argument)
                open_device(holder, argument);
        else if (strcmp(order, "close-group") == 0) {
                for (unsigned i = 0; i < holder->n_groups; i++)
                        close_fd(&holder->groups[i].fd);
                say("group closed");
        } else if (strcmp(order, "close-container") == 0) {
                close_fd(&holder->container);
                say("container closed");
        } else if (strcmp(order, "close-device") == 0) {
                for (unsigned i = 0; i < holder->n_devices; i++)
                        if (!argument || strcmp(argument, holder->devices[i].address) == 0)
                                close_device(&holder->devices[i]);
        } else if (strcmp(order, "fork") == 0)
                fork_child(holder);
        else if (strcmp(order, "kill-child") == 0) {
                (void) kill(holder->child, SIGKILL);
                (void) waitpid(holder->child, NULL, 0);
                say("child ended");
        } else if (strcmp(order, "pass") == 0 && argument) {
                pass(argument, first_device(holder)->fd);
                say("passed");
        } else if (strcmp(order, "pass-group") == 0 && argument) {
                pass(argument, holder->groups[0].fd);
                say("passed");
        } else if (strcmp(order, "park") == 0) {
                if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, holder->parked) < 0)
                        die("socketpair");
                send_fd(holder->parked[0], first_device(holder)->fd);
                close_fd(&first_device(holder)->fd);
                say("parked");
        } else if (strcmp(order, "unpark") == 0) {
                holder->devices[0].fd = receive_fd(holder->parked[1]);
                close_fd(&holder->parked[0]);
                close_fd(&holder->parked[1]);
                say("unparked");
        } else if (strcmp(order, "io") == 0)
                say("io %llu %08x", (unsigned long long) holder->n_reads, holder->last_read);
        else if (strcmp(order, "end") == 0)
                (void) sd_event_exit(holder->event, 0);
        else {
                errno = EINVAL;
                die("order '%s'", order);
        }
}

static int on_input(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        Holder *holder = userdata;
        char *end;
        ssize_t n;

        n = read(fd, holder->line + holder->line_length,
                 sizeof(holder->line) - holder->line_length - 1);
        if (n <= 0)
                return sd_event_source_set_enabled(source, SD_EVENT_OFF);
        holder->line_length += (size_t) n;
        holder->line[holder->line_length] = '\0';
        while ((end = strchr(holder->line, '\n'))) {
                *end = '\0';
                obey_order(holder, holder->line);
                holder->line_length -= (size_t) (end + 1 - holder->line);
                memmove(holder->line, end + 1, holder->line_length + 1);
        }
        return 0;
}

int main(int argc, char **argv) {
        enum {
                GROUP_ONLY = 256,
                REQUEST,
                UNPLUG,
                OBEY_AFTER,
                IO,
                RECEIVE
        };
        static const struct option options[] = {
                { "group-only", no_argument, NULL, GROUP_ONLY },
                { "request", required_argument, NULL, REQUEST },
                { "unplug", required_argument, NULL, UNPLUG },
                { "obey-after", required_argument, NULL, OBEY_AFTER },
                { "io", no_argument, NULL, IO },
                { "receive", required_argument, NULL, RECEIVE },
                { NULL },
        };
        Holder holder = {
                .container = -1, .listener = -1, .parked = { -1, -1 }, .unplug_usec = -1
        };
        int c, r;

        the_holder = &holder;
        check(sd_event_default(&holder.event), "event loop");
        while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0) {
                switch (c) {
                case GROUP_ONLY:
                        holder.group_only = true;
                        break;
                case REQUEST:
                        holder.arm = true;
                        holder.obey = strcmp(optarg, "obey") == 0;
                        break;
                case UNPLUG:
                        holder.unplug_usec = atoll(optarg) * 1000;
                        break;
                case OBEY_AFTER:
                        holder.obey_after_usec = (uint64_t) atoll(optarg) * 1000;
                        break;
                case IO:
                        holder.io = true;
                        break;
                case RECEIVE:
                        listen_at(&holder, optarg);
                        break;
                default:
                        return EXIT_FAILURE;
                }
        }
        if (holder.unplug_usec >= 0)
                listen_on_bus(&holder);
        for (int i = optind; i < argc; i++)
                open_device(&holder, argv[i]);
        if (holder.io)
                check(sd_event_add_time_relative(holder.event, NULL, CLOCK_MONOTONIC, 0, 1, on_io,
                                                 &holder),
                      "reads");
        r = sd_event_add_io(holder.event, &holder.input, STDIN_FILENO, EPOLLIN, on_input, &holder);
        if (r < 0 && r != -EPERM) /* a file, or /dev/null: no orders */
                check(r, "standard input");
        say("ready");
        return sd_event_loop(holder.event) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
