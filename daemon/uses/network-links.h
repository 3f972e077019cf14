/* network-links.h: the network interfaces of one network namespace, and what is set up on them.
 *
 * Owns the list; it is filled from messages of rtnetlink. */
#pragma once

#include "daemon/uses/netlink.h"
#include "policy/address.h"

#include <glib.h>

/* IFNAMSIZ */
#define NETWORK_NAME_MAX 16
/* INET6_ADDRSTRLEN, and the length of the prefix. */
#define NETWORK_ADDRESS_MAX 52

typedef struct NetworkLink {
        int32_t index;
        char name[NETWORK_NAME_MAX];
        bool up; /* and has a link */
        bool on_function;
        PciKey key;              /* with `on_function` */
        int32_t master, lower;   /* 0: none */
        int32_t lower_elsewhere; /* the same of one that is in the network namespace ... */
        int32_t lower_nsid;      /* ... that has this number here */
        bool has_xdp;
        uint32_t xdp; /* the XDP program's number, 0: several, or unknown */
        bool has_default_route;
        unsigned n_addresses;              /* but the kernel's own of the link */
        char address[NETWORK_ADDRESS_MAX]; /* the first of them */
} NetworkLink;

/* Finds the PCI function of an interface whose parent is the device `name` on `bus`; both NULL
 * where the kernel does not say (before Linux 5.14). As device_path_find(). */
typedef int NetworkFind(const char *link, const char *bus, const char *name, PciKey *ret);

typedef struct NetworkLinks {
        GArray *all; /* of NetworkLink, by index */
        NetworkFind *find;
        int error; /* of `find` */
} NetworkLinks;

void network_links_init(NetworkLinks *links, NetworkFind *find);
void network_links_clear(NetworkLinks *links);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(NetworkLinks, network_links_clear)

/* NULL without. */
NetworkLink *network_links_get(const NetworkLinks *links, int32_t index);

/* Each takes a message of a dump; a NetlinkVisit whose context is the NetworkLinks. Interfaces come
 * before all else. */
NetlinkVisit network_links_add, network_links_add_address, network_links_add_route;

/* Whether a message is about a route to everywhere, and so matters; a router may have a million
 * others. */
bool network_route_is_default(const struct nlmsghdr *message);
