#include "daemon/sysfs/uevents.h"

#include "daemon/base/log.h"
#include "daemon/base/util.h"
#include "policy/uevent.h"

#include <errno.h>
#include <linux/netlink.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

/* After so many events others have their turn, even if more are waiting. */
#define UEVENTS_BATCH_MAX 512
/* The kernel's are of 2 KiB at the most (UEVENT_BUFFER_SIZE), and "ACTION@DEVPATH". */
#define UEVENT_MAX 8192
/* The kernel's multicast group; that of udevd is the other one. */
#define GROUP_KERNEL 1

struct Uevents {
        int socket;
        sd_event_source *source;
        const UeventsHandler *handler;
        void *context;
};

/* .../0000:01:10.0/vfio-dev/vfio3: VFIO's device below a function. It is the first thing to go when
 * the function is unbound, and the only sign until the last user has released it
 * (vfio_unregister_group_dev()). */
static int parse_vfio_parent(const char *path, PciAddress *ret) {
        g_auto(GStrv) parts = g_strsplit(path, "/", -1);
        guint n = g_strv_length(parts);

        return n >= 3 ? pci_address_parse(parts[n - 3], ret) : -EINVAL;
}

static void hand_over_function(const Uevents *uevents, const Uevent *event) {
        PciAddress address, old;

        if (pci_address_parse(uevent_name(event->devpath), &address) < 0)
                return;
        log_full(LOG_DEBUG, &address, NULL, "uevent %s", event->action);
        if (strcmp(event->action, "move") == 0 && event->devpath_old &&
            pci_address_parse(uevent_name(event->devpath_old), &old) == 0)
                uevents->handler->event(uevents->context, pci_address_key(old));
        uevents->handler->event(uevents->context, pci_address_key(address));
        if (event->error)
                uevents->handler->failed(uevents->context, pci_address_key(address), event->error);
}

static void uevents_hand_over(const Uevents *uevents, const Uevent *event) {
        PciAddress address;

        if (strcmp(event->subsystem, "pci") == 0)
                hand_over_function(uevents, event);
        else if (strcmp(event->subsystem, "vfio-dev") == 0 &&
                 parse_vfio_parent(event->devpath, &address) == 0)
                uevents->handler->event(uevents->context, pci_address_key(address));
}

/* Returns the size of an event's text, 0 when nobody but the kernel may have sent it, or a negative
 * errno. The text ends with a 0. */
static int uevents_receive(int fd, char text[static UEVENT_MAX + 1]) {
        struct sockaddr_nl sender = { 0 };
        struct iovec vector = { .iov_base = text, .iov_len = UEVENT_MAX };
        struct msghdr message = {
                .msg_name = &sender,
                .msg_namelen = sizeof(sender),
                .msg_iov = &vector,
                .msg_iovlen = 1,
        };
        ssize_t n = recvmsg(fd, &message, 0);

        if (n < 0)
                return -errno;
        text[n] = '\0';
        return sender.nl_pid == 0 ? (int) n : 0;
}

/* Returns whether there may be more. */
static bool take_uevent(const Uevents *uevents) {
        char text[UEVENT_MAX + 1];
        Uevent event;
        int r = uevents_receive(uevents->socket, text);

        if (r >= 0) {
                if (uevent_parse(text, (size_t) r, &event))
                        uevents_hand_over(uevents, &event);
                return true;
        }
        if (r == -EAGAIN)
                return false;
        /* netlink(7): the socket's buffer was full and messages were dropped. The events in the
         * buffer are still to come. */
        if (r == -ENOBUFS)
                uevents->handler->overrun(uevents->context);
        else if (r != -EINTR) {
                log_error("an event cannot be received: %s", g_strerror(-r));
                return false;
        }
        return true;
}

static int on_uevents_readable(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        const Uevents *uevents = userdata;

        for (unsigned i = 0; i < UEVENTS_BATCH_MAX && take_uevent(uevents); i++)
                ;
        uevents->handler->received(uevents->context);
        return 0;
}

/* Without CAP_NET_ADMIN, which the unit does not have, the kernel's maximum is net.core.rmem_max.
 * After an overrun all functions are read again. */
static void set_receive_buffer(int fd, int size) {
        if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0 &&
            setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)) < 0)
                log_debug("the receive buffer for events stays at the system's size");
}

static int uevents_listen(int receive_buffer) {
        const struct sockaddr_nl address = { .nl_family = AF_NETLINK, .nl_groups = GROUP_KERNEL };
        _cleanup_(closep) int fd =
                socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_KOBJECT_UEVENT);

        if (fd < 0)
                return -errno;
        if (receive_buffer > 0)
                set_receive_buffer(fd, receive_buffer);
        if (bind(fd, (const struct sockaddr *) &address, sizeof(address)) < 0)
                return -errno;
        return take_fd(&fd);
}

int uevents_new(sd_event *event, const UeventsHandler *handler, void *context, int receive_buffer,
                Uevents **ret) {
        Uevents *uevents = g_new0(Uevents, 1);
        int r;

        uevents->handler = handler;
        uevents->context = context;
        uevents->socket = r = uevents_listen(receive_buffer);
        if (r >= 0)
                r = sd_event_add_io(event, &uevents->source, uevents->socket, EPOLLIN,
                                    on_uevents_readable, uevents);
        /* Before the bus, so that clients are answered from what is already known to have
         * changed. */
        if (r >= 0)
                r = sd_event_source_set_priority(uevents->source, UEVENTS_PRIORITY);
        if (r >= 0)
                r = sd_event_source_set_description(uevents->source, "uevents: netlink");
        if (r < 0) {
                uevents_free(uevents);
                return r;
        }
        *ret = uevents;
        return 0;
}

Uevents *uevents_free(Uevents *uevents) {
        if (!uevents)
                return NULL;
        sd_event_source_disable_unref(uevents->source);
        closep(&uevents->socket);
        g_free(uevents);
        return NULL;
}
