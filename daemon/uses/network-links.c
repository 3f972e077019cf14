#include "daemon/uses/network-links.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <string.h>

/* In linux/if.h, which does not go together with net/if.h. */
#define LINK_LOWER_UP (1U << 16)

void network_links_init(NetworkLinks *links, NetworkFind *find) {
        *links = (NetworkLinks){ g_array_new(FALSE, FALSE, sizeof(NetworkLink)), find, 0 };
}

void network_links_clear(NetworkLinks *links) {
        g_clear_pointer(&links->all, g_array_unref);
}

static int network_links_compare_indices(const void *a, const void *b) {
        int32_t x = ((const NetworkLink *) a)->index, y = ((const NetworkLink *) b)->index;

        return (x > y) - (x < y);
}

/* A dump of interfaces is in the order of their numbers since Linux 6.8 alone. */
NetworkLink *network_links_get(const NetworkLinks *links, int32_t index) {
        const NetworkLink wanted = { .index = index };
        guint place;

        return index > 0 && g_array_binary_search(links->all, &wanted,
                                                  network_links_compare_indices, &place)
                       ? &g_array_index(links->all, NetworkLink, place)
                       : NULL;
}

static int network_links_find_function(NetworkLinks *links, const struct nlmsghdr *message,
                                       NetworkLink *link) {
        const size_t header = sizeof(struct ifinfomsg);

        return links->find(link->name, netlink_text(message, header, IFLA_PARENT_DEV_BUS_NAME),
                           netlink_text(message, header, IFLA_PARENT_DEV_NAME), &link->key);
}

/* Attributes within IFLA_XDP (rtnl_xdp_fill() in net/core/rtnetlink.c). */
static void take_xdp(const struct nlmsghdr *message, NetworkLink *link) {
        size_t left = 0;
        const struct rtattr *one =
                netlink_attribute(message, sizeof(struct ifinfomsg), IFLA_XDP, &left);

        for (; one && RTA_OK(one, left); one = RTA_NEXT(one, left)) {
                if (one->rta_type == IFLA_XDP_ATTACHED && RTA_PAYLOAD(one) >= 1)
                        link->has_xdp = *(const uint8_t *) RTA_DATA(one) != XDP_ATTACHED_NONE;
                if (one->rta_type == IFLA_XDP_PROG_ID && RTA_PAYLOAD(one) >= sizeof(link->xdp))
                        memcpy(&link->xdp, RTA_DATA(one), sizeof(link->xdp));
        }
}

/* What IFLA_LINK_NETNSID goes with is the number of an interface elsewhere. */
static void take_lower(const struct nlmsghdr *message, NetworkLink *link) {
        const size_t header = sizeof(struct ifinfomsg);
        int32_t lower = (int32_t) netlink_number(message, header, IFLA_LINK, 0);
        size_t size;

        if (!netlink_attribute(message, header, IFLA_LINK_NETNSID, &size)) {
                link->lower = lower;
                return;
        }
        link->lower_elsewhere = lower;
        link->lower_nsid = (int32_t) netlink_number(message, header, IFLA_LINK_NETNSID, 0);
}

int network_links_add(void *context, const struct nlmsghdr *message) {
        const size_t header = sizeof(struct ifinfomsg);
        const struct ifinfomsg *info = NLMSG_DATA(message);
        NetworkLinks *links = context;
        NetworkLink link = { 0 };
        const char *name;
        int r;

        if (message->nlmsg_type != RTM_NEWLINK || message->nlmsg_len < NLMSG_LENGTH(header))
                return 0;
        name = netlink_text(message, header, IFLA_IFNAME);
        if (!name)
                return -EBADMSG;
        link.index = info->ifi_index;
        g_strlcpy(link.name, name, sizeof(link.name));
        link.up = (info->ifi_flags & IFF_UP) && (info->ifi_flags & LINK_LOWER_UP);
        link.master = (int32_t) netlink_number(message, header, IFLA_MASTER, 0);
        take_lower(message, &link);
        take_xdp(message, &link);
        r = network_links_find_function(links, message, &link);
        if (r < 0)
                links->error = r;
        link.on_function = r > 0;
        g_array_append_val(links->all, link);
        if (links->all->len > 1 &&
            g_array_index(links->all, NetworkLink, links->all->len - 2).index > link.index)
                g_array_sort(links->all, network_links_compare_indices);
        return 0;
}

int network_links_add_address(void *context, const struct nlmsghdr *message) {
        const size_t header = sizeof(struct ifaddrmsg);
        const struct ifaddrmsg *info = NLMSG_DATA(message);
        char text[INET6_ADDRSTRLEN];
        NetworkLink *link;
        const void *data;
        size_t size = 0;

        if (message->nlmsg_type != RTM_NEWADDR || message->nlmsg_len < NLMSG_LENGTH(header))
                return 0;
        link = network_links_get(context, (int32_t) info->ifa_index);
        /* The kernel gives every interface that is up an address of its link. */
        if (!link || info->ifa_scope == RT_SCOPE_LINK || info->ifa_scope == RT_SCOPE_HOST)
                return 0;
        /* With a peer IFA_ADDRESS is the peer's. */
        data = netlink_attribute(message, header, IFA_LOCAL, &size);
        if (!data)
                data = netlink_attribute(message, header, IFA_ADDRESS, &size);
        if (!data ||
            size < (info->ifa_family == AF_INET6 ? sizeof(struct in6_addr)
                                                 : sizeof(struct in_addr)) ||
            !inet_ntop(info->ifa_family, data, text, sizeof(text)))
                return 0;
        if (link->n_addresses++ == 0)
                g_snprintf(link->address, sizeof(link->address), "%s/%u", text,
                           info->ifa_prefixlen);
        return 0;
}

bool network_route_is_default(const struct nlmsghdr *message) {
        const struct rtmsg *route = NLMSG_DATA(message);

        return message->nlmsg_len >= NLMSG_LENGTH(sizeof(*route)) && route->rtm_dst_len == 0 &&
               route->rtm_type == RTN_UNICAST &&
               (route->rtm_family == AF_INET || route->rtm_family == AF_INET6);
}

static void note_route(const NetworkLinks *links, int32_t index) {
        NetworkLink *link = network_links_get(links, index);

        if (link)
                link->has_default_route = true;
}

int network_links_add_route(void *context, const struct nlmsghdr *message) {
        const size_t header = sizeof(struct rtmsg);
        const struct rtnexthop *hop;
        size_t size = 0;

        if (message->nlmsg_type != RTM_NEWROUTE || !network_route_is_default(message))
                return 0;
        note_route(context, (int32_t) netlink_number(message, header, RTA_OIF, 0));
        hop = netlink_attribute(message, header, RTA_MULTIPATH, &size);
        while (hop && size >= sizeof(*hop) && RTNH_OK(hop, size)) {
                size_t length = RTNH_ALIGN(hop->rtnh_len);

                note_route(context, hop->rtnh_ifindex);
                hop = RTNH_NEXT(hop);
                size -= MIN(length, size);
        }
        return 0;
}
