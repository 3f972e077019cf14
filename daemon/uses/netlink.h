/* netlink.h: questions to the kernel's rtnetlink, and its events.
 *
 * Owns nothing but what it opens. Only the kernel's answers count: in the network namespace of a
 * container others can send, too. For a process that may wait: each question waits for the lock of
 * all network configuration (rtnl_lock()). */
#pragma once

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The process is in the network namespace of process 1 from now on. Returns a descriptor of that
 * namespace, or a negative errno. */
int netlink_enter_host(const char *proc);

/* A socket of the network namespace that the process is in; it stays there. `groups` are bits
 * (1 << (RTNLGRP_... - 1)) of what it listens to. Returns it, or a negative errno. */
int netlink_open(uint32_t groups);

/* Called for each message of a dump. A negative errno ends it. */
typedef int NetlinkVisit(void *context, const struct nlmsghdr *message);

/* Asks for all objects of `type` (RTM_GETLINK, ...), of the address family `family`. Returns 0 or a
 * negative errno: what `visit` returned, -EINTR when the objects have changed meanwhile, -E2BIG
 * after `max` messages, -EBUSY when others send too many messages to the socket. */
int netlink_dump(int fd, uint16_t type, uint8_t family, unsigned max, NetlinkVisit *visit,
                 void *context);

/* The number that the network namespace of the socket has for the one that `namespace` is a
 * descriptor of. Returns 1; 0 if it has none, so that no interface there is on top of one of that;
 * or a negative errno. */
int netlink_find_nsid(int fd, int namespace, int32_t *ret);

/* Takes the events that wait. `visit` is called for each, with NULL when some were lost. */
void netlink_receive_events(int fd, NetlinkVisit *visit, void *context);

/* The attribute `type` among the attributes of a message whose own header has `header` bytes; NULL
 * without. What it holds is `*ret_size` bytes long. */
const void *netlink_attribute(const struct nlmsghdr *message, size_t header, uint16_t type,
                              size_t *ret_size);

/* The same as a number, `otherwise` without it; and as text that ends within the attribute, NULL
 * without. */
uint32_t netlink_number(const struct nlmsghdr *message, size_t header, uint16_t type,
                        uint32_t otherwise);
const char *netlink_text(const struct nlmsghdr *message, size_t header, uint16_t type);
