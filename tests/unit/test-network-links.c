#include "daemon/uses/device-path.h"
#include "daemon/uses/network-links.h"
#include "tests/unit/facts.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <net/if.h>
#include <string.h>

#define LOWER_UP (1U << 16)

/* A message of rtnetlink, as it grows. */
typedef struct Message {
        _Alignas(struct nlmsghdr) char bytes[512];
} Message;

static struct nlmsghdr *header_of(Message *message) {
        return (struct nlmsghdr *) (void *) message->bytes;
}

static void begin(Message *message, uint16_t type, const void *body, size_t size) {
        *message = (Message){ 0 };
        header_of(message)->nlmsg_type = type;
        header_of(message)->nlmsg_len = (uint32_t) NLMSG_LENGTH(size);
        memcpy(NLMSG_DATA(header_of(message)), body, size);
}

static void add(Message *message, uint16_t type, const void *data, size_t size) {
        struct nlmsghdr *header = header_of(message);
        struct rtattr *attribute =
                (struct rtattr *) (void *) (message->bytes + NLMSG_ALIGN(header->nlmsg_len));

        attribute->rta_type = type;
        attribute->rta_len = (unsigned short) RTA_LENGTH(size);
        memcpy(RTA_DATA(attribute), data, size);
        header->nlmsg_len = NLMSG_ALIGN(header->nlmsg_len) + RTA_SPACE((uint32_t) size);
}

static void add_text(Message *message, uint16_t type, const char *text) {
        add(message, type, text, strlen(text) + 1);
}

static void add_number(Message *message, uint16_t type, uint32_t number) {
        add(message, type, &number, sizeof(number));
}

static int find(const char *link, const char *bus, const char *name, PciKey *ret) {
        return bus && strcmp(bus, "pci") == 0 && device_path_function(name, ret);
}

static NetworkLinks links;

static void set_up(void) {
        network_links_init(&links, find);
}

static void tear_down(void) {
        network_links_clear(&links);
}

TestSuite(network_links, .init = set_up, .fini = tear_down);

static void begin_link(Message *message, int index, const char *name, unsigned flags) {
        const struct ifinfomsg info = { .ifi_index = index, .ifi_flags = flags };

        begin(message, RTM_NEWLINK, &info, sizeof(info));
        add_text(message, IFLA_IFNAME, name);
}

static void add_card(int index, const char *name, unsigned flags, const char *address) {
        Message message;

        begin_link(&message, index, name, flags);
        add_text(&message, IFLA_PARENT_DEV_NAME, address);
        add_text(&message, IFLA_PARENT_DEV_BUS_NAME, "pci");
        cr_assert_eq(network_links_add(&links, header_of(&message)), 0);
}

static const NetworkLink *get(int index) {
        const NetworkLink *link = network_links_get(&links, index);

        cr_assert_not_null(link, "%d", index);
        return link;
}

Test(network_links, cards_in_any_order) {
        add_card(7, "eth7", IFF_UP | LOWER_UP, "0000:07:00.0");
        add_card(3, "eth3", IFF_UP, "0000:03:00.0");
        add_card(5, "eth5", LOWER_UP, "0000:05:00.0");
        cr_assert_str_eq(get(3)->name, "eth3");
        cr_assert_eq(get(5)->key, key_of("0000:05:00.0"));
        cr_assert(get(7)->up && !get(3)->up && !get(5)->up);
        cr_assert_null(network_links_get(&links, 4));
        cr_assert_null(network_links_get(&links, 0));
}

Test(network_links, ports_and_what_is_on_top) {
        Message message;

        add_card(2, "eth2", 0, "0000:02:00.0");
        begin_link(&message, 4, "eth2.100", IFF_UP);
        add_number(&message, IFLA_LINK, 2);
        add_number(&message, IFLA_MASTER, 9);
        network_links_add(&links, header_of(&message));
        begin_link(&message, 5, "veth1", IFF_UP); /* its other end is in a container */
        add_number(&message, IFLA_LINK, 2);
        add_number(&message, IFLA_LINK_NETNSID, 1);
        network_links_add(&links, header_of(&message));
        cr_assert_eq(get(4)->lower, 2);
        cr_assert_eq(get(4)->master, 9);
        cr_assert_eq(get(5)->lower, 0);
        cr_assert_not(get(4)->on_function);
}

static void give_address(int index, int family, const char *text, unsigned length, int scope) {
        const struct ifaddrmsg info = { .ifa_family = (uint8_t) family,
                                        .ifa_prefixlen = (uint8_t) length,
                                        .ifa_scope = (uint8_t) scope,
                                        .ifa_index = (uint32_t) index };
        unsigned char bytes[sizeof(struct in6_addr)];
        Message message;

        cr_assert_eq(inet_pton(family, text, bytes), 1);
        begin(&message, RTM_NEWADDR, &info, sizeof(info));
        add(&message, IFA_ADDRESS, bytes, family == AF_INET ? 4 : 16);
        cr_assert_eq(network_links_add_address(&links, header_of(&message)), 0);
}

Test(network_links, addresses) {
        add_card(2, "eth2", 0, "0000:02:00.0");
        give_address(2, AF_INET6, "fe80::1", 64, RT_SCOPE_LINK);
        cr_assert_eq(get(2)->n_addresses, 0, "the kernel's own");
        give_address(2, AF_INET, "192.0.2.7", 24, RT_SCOPE_UNIVERSE);
        give_address(2, AF_INET6, "2001:db8::7", 64, RT_SCOPE_UNIVERSE);
        give_address(3, AF_INET, "192.0.2.8", 24, RT_SCOPE_UNIVERSE);
        cr_assert_eq(get(2)->n_addresses, 2);
        cr_assert_str_eq(get(2)->address, "192.0.2.7/24");
}

Test(network_links, default_routes) {
        struct rtmsg info = { .rtm_family = AF_INET, .rtm_type = RTN_UNICAST };
        struct {
                struct rtnexthop first, second;
        } hops = { { .rtnh_len = sizeof(struct rtnexthop), .rtnh_ifindex = 3 },
                   { .rtnh_len = sizeof(struct rtnexthop), .rtnh_ifindex = 4 } };
        Message message;

        for (int i = 2; i <= 5; i++)
                add_card(i, "eth", 0, "0000:02:00.0");
        begin(&message, RTM_NEWROUTE, &info, sizeof(info));
        add_number(&message, RTA_OIF, 2);
        network_links_add_route(&links, header_of(&message));
        begin(&message, RTM_NEWROUTE, &info, sizeof(info));
        add(&message, RTA_MULTIPATH, &hops, sizeof(hops));
        network_links_add_route(&links, header_of(&message));
        info.rtm_dst_len = 24;
        begin(&message, RTM_NEWROUTE, &info, sizeof(info));
        add_number(&message, RTA_OIF, 5);
        network_links_add_route(&links, header_of(&message));
        info = (struct rtmsg){ .rtm_family = AF_INET, .rtm_type = RTN_UNREACHABLE };
        begin(&message, RTM_NEWROUTE, &info, sizeof(info));
        add_number(&message, RTA_OIF, 5);
        network_links_add_route(&links, header_of(&message));
        for (int i = 2; i <= 5; i++)
                cr_assert_eq(get(i)->has_default_route, i < 5, "%d", i);
}

/* What a message says of its own length is not believed. */
Test(network_links, broken_messages) {
        Message message;

        begin_link(&message, 2, "eth2", 0);
        header_of(&message)->nlmsg_len = NLMSG_LENGTH(4);
        cr_assert_eq(network_links_add(&links, header_of(&message)), 0);
        begin_link(&message, 2, "eth2", 0);
        ((struct rtattr *) (void *) (message.bytes + NLMSG_SPACE(sizeof(struct ifinfomsg))))
                ->rta_len = 400;
        cr_assert_eq(network_links_add(&links, header_of(&message)), -EBADMSG);
        cr_assert_eq(links.all->len, 0);
}

Test(network_links, the_function_of_a_path) {
        static const struct {
                const char *path, *function;
        } rows[] = {
                { "/sys/devices/pci0000:00/0000:00:02.0/0000:01:00.0/virtio1", "0000:01:00.0" },
                { "/sys/devices/pci0000:00/0000:00:0e.0/pci10000:e0/10000:e0:01.0/nvme",
                  "10000:e0:01.0" },
                { "/sys/devices/virtual/block/dm-0", NULL },
                { "", NULL },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
                PciKey key = 0;

                cr_assert_eq(device_path_function(rows[i].path, &key), rows[i].function != NULL);
                cr_assert(!rows[i].function || key == key_of(rows[i].function), "%s", rows[i].path);
        }
}
