#include "daemon/uses/kernel-events.h"

#include "daemon/base/util.h"

#include <glib.h>
#include <linux/netlink.h>
#include <string.h>
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

/* The strings of an event, one behind the other; `text` ends with a 0 beyond `size`. */
static const char *find_value(const char *text, size_t size, const char *key) {
        size_t length = strlen(key);

        for (const char *end = text + size; text < end; text += strlen(text) + 1)
                if (strncmp(text, key, length) == 0)
                        return text + length;
        return NULL;
}

bool kernel_events_take(int fd, KernelEvent *event, void *context) {
        char text[UEVENT_MAX + 1];
        bool lost = false;
        ssize_t n;

        while ((n = recv(fd, text, UEVENT_MAX, 0)) > 0 || (n < 0 && errno == ENOBUFS)) {
                const char *subsystem, *devpath;

                if (n < 0) {
                        lost = true;
                        continue;
                }
                text[n] = '\0';
                subsystem = find_value(text, (size_t) n, "SUBSYSTEM=");
                devpath = find_value(text, (size_t) n, "DEVPATH=");
                if (subsystem && devpath)
                        event(context, subsystem, devpath);
        }
        return lost;
}
