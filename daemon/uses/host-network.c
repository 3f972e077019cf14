#include "daemon/uses/host-network.h"

#include "daemon/base/util.h"
#include "daemon/uses/device-path.h"
#include "daemon/uses/network-elsewhere.h"

#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#define GROUP(group) (1U << ((group) -1))
#define GROUPS                                                                           \
        (GROUP(RTNLGRP_LINK) | GROUP(RTNLGRP_IPV4_IFADDR) | GROUP(RTNLGRP_IPV6_IFADDR) | \
         GROUP(RTNLGRP_IPV4_ROUTE) | GROUP(RTNLGRP_IPV6_ROUTE))
/* Interfaces and addresses of the host; and routes, of which a router has a million. */
#define MESSAGES_MAX 65536
#define ROUTES_MAX   (8 * 1024 * 1024)
/* A list that changes while it is read is read anew. */
#define TRIES_MAX 20

typedef struct HostNetwork {
        const char *proc;
        int host;      /* the host's network namespace */
        int questions; /* a socket of it, ... */
        int events;    /* ... and another */
        bool routes_stale;
        GArray *routes;       /* of int32_t: interfaces with a default route */
        GArray *on_functions; /* of int32_t: interfaces of functions, by number */
        GArray *missing;      /* of NetworkElsewhere: as of the last search ... */
        GArray *elsewhere;    /* ... and what that has found */
        bool moved;           /* an interface has come, or gone to another namespace */
        bool is_partial;      /* some namespaces were not looked at */
} HostNetwork;

/* --- listening */

static int open_network(UseChild *child, void **ret_state) {
        HostNetwork *network = g_new0(HostNetwork, 1); /* as long as the process */

        *ret_state = network;
        network->proc = use_child_proc(child);
        network->routes = g_array_new(FALSE, FALSE, sizeof(int32_t));
        network->on_functions = g_array_new(FALSE, FALSE, sizeof(int32_t));
        network->missing = g_array_new(FALSE, FALSE, sizeof(NetworkElsewhere));
        network->elsewhere = g_array_new(FALSE, FALSE, sizeof(NetworkElsewhere));
        network->routes_stale = network->moved = true;
        network->host = netlink_enter_host(network->proc);
        if (network->host < 0)
                return network->host;
        network->questions = netlink_open(0);
        if (network->questions < 0)
                return network->questions;
        network->events = netlink_open(GROUPS);
        if (network->events < 0)
                return network->events;
        use_child_watch(child, network->events, POLLIN);
        return 0;
}

typedef struct EventTaking {
        HostNetwork *network;
        bool matters;
} EventTaking;

static bool is_on_function(const HostNetwork *network, int32_t index) {
        for (guint i = 0; i < network->on_functions->len; i++)
                if (g_array_index(network->on_functions, int32_t, i) == index)
                        return true;
        return false;
}

/* A host of containers has many interfaces that come and go, and that have no device and are on
 * none. */
static void take_link(EventTaking *taking, const struct nlmsghdr *message) {
        const struct ifinfomsg *info = NLMSG_DATA(message);
        const size_t header = sizeof(*info);
        size_t size;
        bool known;

        if (message->nlmsg_len < NLMSG_LENGTH(header))
                return;
        known = is_on_function(taking->network, info->ifi_index);
        if (!known && !netlink_attribute(message, header, IFLA_PARENT_DEV_NAME, &size) &&
            (!netlink_attribute(message, header, IFLA_LINK, &size) ||
             netlink_attribute(message, header, IFLA_LINK_NETNSID, &size)))
                return;
        /* An interface that is made elsewhere on top of a known one makes the kernel report that
         * (NETDEV_CHANGEUPPER in rtnetlink_event()). */
        taking->matters = taking->network->moved = true;
        if (!known || message->nlmsg_type == RTM_DELLINK)
                taking->network->routes_stale = true;
}

static void take_address(EventTaking *taking, const struct nlmsghdr *message) {
        const struct ifaddrmsg *info = NLMSG_DATA(message);

        if (message->nlmsg_len >= NLMSG_LENGTH(sizeof(*info)) &&
            is_on_function(taking->network, (int32_t) info->ifa_index))
                taking->matters = true;
}

static int host_network_take_message(void *context, const struct nlmsghdr *message) {
        EventTaking *taking = context;

        if (!message) /* some were lost */
                taking->matters = taking->network->moved = taking->network->routes_stale = true;
        else if (message->nlmsg_type == RTM_NEWLINK || message->nlmsg_type == RTM_DELLINK)
                take_link(taking, message);
        else if (message->nlmsg_type == RTM_NEWADDR || message->nlmsg_type == RTM_DELADDR)
                take_address(taking, message);
        else if (network_route_is_default(message))
                taking->matters = taking->network->routes_stale = true;
        return 0;
}

static bool take_events(void *state, int fd) {
        EventTaking taking = { .network = state };

        netlink_receive_events(fd, host_network_take_message, &taking);
        return taking.matters;
}

/* --- looking */

static int host_network_find_function(const char *link, const char *bus, const char *name,
                                      PciKey *ret) {
        g_autofree char *path = NULL;

        if (bus && name && !strchr(bus, '/') && !strchr(name, '/'))
                path = g_strdup_printf("/sys/bus/%s/devices/%s", bus, name);
        else if (!bus && !name) /* virtual, or before Linux 5.14 */
                path = g_strdup_printf("/sys/class/net/%s", link);
        return path ? device_path_find(path, ret) : 0;
}

/* Elsewhere sysfs shows nothing. */
static int find_function_elsewhere(const char *link, const char *bus, const char *name,
                                   PciKey *ret) {
        return bus && name ? host_network_find_function(link, bus, name, ret) : 0;
}

static int dump(const HostNetwork *network, uint16_t type, uint8_t family, unsigned max,
                NetlinkVisit *visit, NetworkLinks *links) {
        return netlink_dump(network->questions, type, family, max, visit, links);
}

static void keep_routes(HostNetwork *network, const NetworkLinks *links) {
        g_array_set_size(network->routes, 0);
        for (guint i = 0; i < links->all->len; i++) {
                const NetworkLink *link = &g_array_index(links->all, NetworkLink, i);

                if (link->has_default_route)
                        g_array_append_val(network->routes, link->index);
        }
}

/* All routes are read only when a default route has changed. */
static int add_routes(HostNetwork *network, NetworkLinks *links) {
        int r;

        for (guint i = 0; !network->routes_stale && i < network->routes->len; i++) {
                NetworkLink *link =
                        network_links_get(links, g_array_index(network->routes, int32_t, i));

                if (link)
                        link->has_default_route = true;
        }
        if (!network->routes_stale)
                return 0;
        r = dump(network, RTM_GETROUTE, AF_INET, ROUTES_MAX, network_links_add_route, links);
        if (r >= 0)
                r = dump(network, RTM_GETROUTE, AF_INET6, ROUTES_MAX, network_links_add_route,
                         links);
        if (r < 0)
                return r;
        keep_routes(network, links);
        network->routes_stale = false;
        return 0;
}

static int read_host_once(HostNetwork *network, NetworkLinks *links) {
        int r = dump(network, RTM_GETLINK, AF_UNSPEC, MESSAGES_MAX, network_links_add, links);

        if (r >= 0)
                r = dump(network, RTM_GETADDR, AF_UNSPEC, MESSAGES_MAX, network_links_add_address,
                         links);
        if (r >= 0)
                r = add_routes(network, links);
        return r < 0 ? r : links->error;
}

static int read_host(HostNetwork *network, NetworkLinks *links) {
        int r = -EINTR;

        for (unsigned i = 0; r == -EINTR && i < TRIES_MAX; i++) {
                network_links_clear(links);
                network_links_init(links, host_network_find_function);
                r = read_host_once(network, links);
        }
        return r;
}

static void add_link(UseChild *child, const NetworkLinks *links, const NetworkLink *link) {
        const NetworkLink *master = network_links_get(links, link->master);
        g_autofree char *addresses = NULL;

        if (link->has_default_route)
                use_child_add(child, link->key, USE_NETWORK_ROUTE, link->name, "", 0);
        if (link->n_addresses > 1)
                addresses = g_strdup_printf("%s and %u more", link->address, link->n_addresses - 1);
        if (link->n_addresses > 0)
                use_child_add(child, link->key, USE_NETWORK_ADDRESS, link->name,
                              addresses ? addresses : link->address, 0);
        if (link->master != 0)
                use_child_add(child, link->key, USE_NETWORK_PORT, link->name,
                              master ? master->name : "another interface", 0);
        if (link->up)
                use_child_add(child, link->key, USE_NETWORK_UP, link->name, "", 0);
        if (link->has_xdp) {
                g_autofree char *program = g_strdup_printf("%" PRIu32, link->xdp);

                use_child_add(child, link->key, USE_NETWORK_XDP, link->name, program, 0);
        }
}

static void host_network_add_host(UseChild *child, HostNetwork *network,
                                  const NetworkLinks *links) {
        g_array_set_size(network->on_functions, 0);
        for (guint i = 0; i < links->all->len; i++) {
                const NetworkLink *link = &g_array_index(links->all, NetworkLink, i);
                const NetworkLink *lower = network_links_get(links, link->lower);

                if (link->on_function) {
                        g_array_append_val(network->on_functions, link->index);
                        use_child_add_name(child, link->key, DEVICE_NAME_INTERFACE, link->name);
                        add_link(child, links, link);
                }
                if (lower && lower != link && lower->on_function)
                        use_child_add(child, lower->key, USE_NETWORK_LOWER, lower->name, link->name,
                                      0);
        }
}

static bool are_as_before(const GArray *missing, const GArray *before) {
        if (missing->len != before->len)
                return false;
        for (guint i = 0; i < missing->len; i++)
                if (g_array_index(missing, NetworkElsewhere, i).key !=
                    g_array_index(before, NetworkElsewhere, i).key)
                        return false;
        return true;
}

/* Namespaces are searched only when an interface has come or gone. */
static int find_elsewhere(HostNetwork *network) {
        g_autoptr(GArray) missing = g_array_new(FALSE, FALSE, sizeof(NetworkElsewhere));
        int r = network_elsewhere_missing(missing);

        if (r < 0 || (!network->moved && are_as_before(missing, network->missing)))
                return r;
        g_array_set_size(network->elsewhere, 0);
        g_array_append_vals(network->elsewhere, missing->data, missing->len);
        r = network_elsewhere_locate(network->proc, network->host, find_function_elsewhere,
                                     network->elsewhere);
        if (r < 0)
                return r;
        g_array_unref(network->missing);
        network->missing = g_steal_pointer(&missing);
        network->moved = false;
        network->is_partial = r > 0;
        return 0;
}

static void add_upper_elsewhere(UseChild *child, const NetworkLinks *links,
                                const NetworkElsewhere *upper) {
        const NetworkLink *lower = network_links_get(links, upper->lower);
        g_autofree char *by =
                g_strdup_printf("%s in the network namespace %s", upper->name, upper->where);

        if (lower && lower->on_function)
                use_child_add(child, lower->key, USE_NETWORK_LOWER_ELSEWHERE, lower->name, by,
                              upper->pid);
}

static void add_elsewhere(UseChild *child, const HostNetwork *network, const NetworkLinks *links) {
        for (guint i = 0; i < network->elsewhere->len; i++) {
                const NetworkElsewhere *one =
                        &g_array_index(network->elsewhere, NetworkElsewhere, i);

                if (one->lower != 0)
                        add_upper_elsewhere(child, links, one);
                else
                        use_child_add(child, one->key, USE_NETWORK_NAMESPACE,
                                      one->name[0] != '\0' ? one->name : "(name unknown)",
                                      one->where[0] != '\0' ? one->where : "of no known process",
                                      one->pid);
        }
}

static int add_rdma_elsewhere(UseChild *child) {
        g_autoptr(GArray) keys = g_array_new(FALSE, FALSE, sizeof(PciKey));
        int r = network_elsewhere_rdma(keys);

        for (guint i = 0; i < keys->len; i++)
                use_child_add(child, g_array_index(keys, PciKey, i), USE_RDMA_NAMESPACE, "", "", 0);
        return r;
}

static int look_at_network(UseChild *child, void *state) {
        g_auto(NetworkLinks) links = { 0 };
        HostNetwork *network = state;
        int r = read_host(network, &links);

        if (r >= 0)
                r = find_elsewhere(network);
        if (r >= 0)
                r = add_rdma_elsewhere(child);
        if (r < 0)
                return r;
        if (network->is_partial)
                use_child_note(child, "there are more network namespaces than are looked at; "
                                      "interfaces in them are missed");
        add_elsewhere(child, network, &links);
        host_network_add_host(child, network, &links);
        return 0;
}

const UseSource host_network = {
        .name = "vfwarden-net",
        .what = "network interfaces",
        .open = open_network,
        .event = take_events,
        .look = look_at_network,
};
