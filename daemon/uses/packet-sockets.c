#include "daemon/uses/packet-sockets.h"

#include "daemon/base/util.h"
#include "daemon/uses/device-path.h"
#include "policy/absence.h"
#include "policy/packet-list.h"
#include "policy/proc-text.h"

#include <net/if.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

/* Returns 1, 0 if there is no such interface any more, or a negative errno. SIOCGIFNAME takes no
 * lock that another process can hold (netdev_get_name()), unlike rtnetlink. */
static int name_interface(int socket, uint32_t index, char name[static NETWORK_NAME_MAX]) {
        struct ifreq request = { .ifr_ifindex = (int) index };

        if (ioctl(socket, SIOCGIFNAME, &request) < 0)
                return errno_means_absent(-errno) ? 0 : -errno;
        g_strlcpy(name, request.ifr_name, NETWORK_NAME_MAX);
        return 1;
}

/* As name_interface(), and 0 if the interface is of no function. */
static int find_interface(int socket, uint32_t index, PacketSocket *found) {
        g_autofree char *link = NULL;
        int r = name_interface(socket, index, found->interface);

        if (r <= 0)
                return r;
        link = g_strdup_printf("/sys/class/net/%s", found->interface);
        return device_path_find(link, &found->key);
}

static int add_packet_socket(int socket, const char *line, GArray *sockets) {
        PacketLine parsed;
        PacketSocket found = { 0 };
        int r;

        /* One of all interfaces is not bound to any. */
        if (packet_line_parse(line, &parsed) < 0 || parsed.interface == 0)
                return 0;
        r = find_interface(socket, parsed.interface, &found);
        if (r <= 0)
                return r;
        found.inode = parsed.inode;
        found.uid = parsed.uid;
        g_array_append_val(sockets, found);
        return 0;
}

static int read_packet_lines(FILE *file, int socket, GArray *sockets) {
        _cleanup_(freep) char *line = NULL;
        size_t size = 0;
        int error = 0;

        while (errno = 0, getline(&line, &size, file) > 0) {
                int r = add_packet_socket(socket, line, sockets);

                error = r < 0 ? r : error;
        }
        return errno != 0 ? -errno : error;
}

int packet_sockets_read(const char *proc, GArray *sockets) {
        g_autofree char *path = g_strconcat(proc, "/1/net/packet", NULL);
        _cleanup_(fclosep) FILE *file = fopen(path, "re");
        _cleanup_(closep) int names = -1;

        if (!file) /* a kernel without packet sockets has no such file */
                return errno_means_absent(-errno) ? 0 : -errno;
        names = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        return names < 0 ? -errno : read_packet_lines(file, names, sockets);
}

void packet_sockets_note(GArray *sockets, const char *link, uint32_t pid, const char *program) {
        uint64_t inode;

        if (sockets->len == 0 || !proc_link_parse(link, "socket", &inode))
                return;
        for (guint i = 0; i < sockets->len; i++) {
                PacketSocket *socket = &g_array_index(sockets, PacketSocket, i);

                if (socket->inode != inode || socket->pid != 0)
                        continue;
                socket->pid = pid;
                g_strlcpy(socket->program, program, sizeof(socket->program));
        }
}
