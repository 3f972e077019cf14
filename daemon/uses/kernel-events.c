#include "daemon/uses/kernel-events.h"

#include "daemon/base/util.h"
#include "policy/uevent.h"

#include <linux/netlink.h>
#include <sys/socket.h>

#define UEVENT_MAX 8192

/* With PrivateNetwork= as well: devices' events reach every network namespace of the initial user
 * namespace (uevent_net_broadcast_untagged() in lib/kobject_uevent.c). */
int kernel_events_open(void) {
        const struct sockaddr_nl address = { .nl_family = AF_NETLINK, .nl_groups = 1 };
        _cleanup_(closep) int fd =
                socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_KOBJECT_UEVENT);

        if (fd < 0 || bind(fd, (const struct sockaddr *) &address, sizeof(address)) < 0)
                return -errno;
        return take_fd(&fd);
}

bool kernel_events_take(int fd, KernelEvent *event, void *context) {
        char text[UEVENT_MAX + 1];
        bool lost = false;
        ssize_t n;

        while ((n = recv(fd, text, UEVENT_MAX, 0)) > 0 || (n < 0 && errno == ENOBUFS)) {
                Uevent uevent;

                if (n < 0) {
                        lost = true;
                        continue;
                }
                text[n] = '\0';
                if (uevent_parse(text, (size_t) n, &uevent))
                        event(context, uevent.subsystem, uevent.devpath);
        }
        return lost;
}
