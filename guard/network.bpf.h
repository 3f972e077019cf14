/* network.bpf.h: finds in what a program sends to the kernel who is to be changed by it.
 *
 * Owns the layouts of rtnetlink's, devlink's and ethtool's requests, as far as the guard looks into
 * them. Only the first message of a send is looked at. */
#pragma once

#include "guard/kernel-types.h"
#include "policy/guard-layout.h"

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>
#include <linux/devlink.h>
#include <linux/genetlink.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>

/* linux/ethtool.h takes headers of libc, which there are none of for this target. */
#define ETHTOOL_RESET 0x34

/* So many attributes of a message are looked at; iproute2 sends a few. */
#define ATTRIBUTES_MAX 64

/* The attributes of a message, one after the other. */
typedef struct Attributes {
        const unsigned char *data; /* in the kernel */
        __u32 offset, end;
        struct nlattr current;
} Attributes;

/* Reads `size` bytes, header and fixed part, of the message in `skb`. */
static __always_inline int read_message(const struct sk_buff *skb, void *message, __u32 size,
                                        Attributes *ret) {
        const struct nlmsghdr *header = message;

        ret->data = skb->data;
        if (skb->len < size || bpf_probe_read_kernel(message, size, ret->data) < 0)
                return -1;
        ret->offset = size;
        ret->end = header->nlmsg_len < skb->len ? header->nlmsg_len : skb->len;
        return 0;
}

/* Reads the next attribute's header; its value begins behind that, at `offset`. */
static __always_inline int next_attribute(Attributes *attributes, __u32 *ret_value) {
        const unsigned char *data = attributes->data + attributes->offset;

        if (attributes->offset + sizeof(attributes->current) > attributes->end ||
            bpf_probe_read_kernel(&attributes->current, sizeof(attributes->current), data) < 0 ||
            attributes->current.nla_len < sizeof(attributes->current))
                return -1;
        *ret_value = attributes->offset + sizeof(attributes->current);
        attributes->offset += NLA_ALIGN(attributes->current.nla_len);
        return attributes->current.nla_type & NLA_TYPE_MASK;
}

/* Whether the message sets something of a link's VFs; then `*ret` is which link's. */
static __always_inline int sets_vfs(const struct sk_buff *skb, GuardLinkKey *ret) {
        struct {
                struct nlmsghdr header;
                struct ifinfomsg link;
        } message;
        Attributes attributes;
        int found = 0;

        if (read_message(skb, &message, sizeof(message), &attributes) < 0 ||
            (message.header.nlmsg_type != RTM_SETLINK && message.header.nlmsg_type != RTM_NEWLINK))
                return 0;
        ret->index = (__u32) message.link.ifi_index;
        for (int i = 0; i < ATTRIBUTES_MAX; i++) {
                __u32 value;
                int type = next_attribute(&attributes, &value);

                if (type < 0)
                        break;
                if (type == IFLA_VFINFO_LIST)
                        found = 1;
                else if (type == IFLA_IFNAME && ret->index == 0)
                        (void) bpf_probe_read_kernel_str(ret->name, sizeof(ret->name),
                                                         attributes.data + value);
        }
        return found;
}

/* Whether the message has a device of PCI reloaded; then `name` is its address, if that fits. The
 * number of devlink's family is the running kernel's own; the address in it says enough. */
static __always_inline int reloads_device(const struct sk_buff *skb, char *name, __u32 size) {
        struct {
                struct nlmsghdr header;
                struct genlmsghdr generic;
        } message;
        Attributes attributes;
        int is_pci = 0;

        if (read_message(skb, &message, sizeof(message), &attributes) < 0 ||
            message.generic.cmd != DEVLINK_CMD_RELOAD)
                return 0;
        for (int i = 0; i < ATTRIBUTES_MAX; i++) {
                char bus[4] = { 0 };
                __u32 value;
                int type = next_attribute(&attributes, &value);

                if (type < 0)
                        break;
                if (type == DEVLINK_ATTR_BUS_NAME) {
                        (void) bpf_probe_read_kernel(bus, sizeof(bus), attributes.data + value);
                        is_pci = bus[0] == 'p' && bus[1] == 'c' && bus[2] == 'i' && bus[3] == '\0';
                } else if (type == DEVLINK_ATTR_DEV_NAME)
                        (void) bpf_probe_read_kernel_str(name, size, attributes.data + value);
        }
        return is_pci;
}

/* Whether the request of SIOCETHTOOL resets something of a link's; then `*ret` is which link's. */
static __always_inline int resets_link(const void *argument, GuardLinkKey *ret) {
        /* The beginning of struct ifreq, which has a union of other things, too. */
        struct {
                char name[GUARD_LINK_NAME_MAX];
                const void *data;
        } request;
        __u32 command;

        if (bpf_probe_read_user(&request, sizeof(request), argument) < 0 ||
            bpf_probe_read_user(&command, sizeof(command), request.data) < 0 ||
            command != ETHTOOL_RESET)
                return 0;
        ret->index = 0;
        (void) bpf_probe_read_user_str(ret->name, sizeof(ret->name), argument);
        return 1;
}
