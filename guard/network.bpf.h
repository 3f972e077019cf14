/* network.bpf.h: finds in what a program sends to the kernel which function is to be changed by it.
 *
 * Owns the layouts of rtnetlink's, devlink's and ethtool's requests, as far as the guard looks into
 * them. Of a send with several messages each is looked at, as netlink_rcv_skb() does it. */
#pragma once

#include "guard/interface.bpf.h"
#include "guard/kernel-types.h"
#include "guard/maps.bpf.h"

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>
#include <linux/devlink.h>
#include <linux/genetlink.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>

/* linux/ethtool.h takes headers of libc, which there are none of for this target. */
#define ETHTOOL_TEST        0x1a
#define ETHTOOL_RESET       0x34
#define ETH_TEST_FL_OFFLINE 1

/* The most that a loop can have (BPF_MAX_LOOPS). A request that has more attributes could have
 * anything behind them: it counts as one to any function. */
#define STEPS_MAX (1 << 23)
/* Everybody can send ten thousand messages at once in a network namespace of their own, with as
 * many names of interfaces as they like. A send with more that set VFs counts as one to any
 * function. */
#define SEARCHES_MAX 64

/* The verifier looks at such a function by itself, and knows nothing of what its argument points
 * to. Otherwise it follows each value that the loops can leave there, and the one of Linux 7.2
 * gives up: "The sequence of 8193 jumps is too complex". The context of bpf_loop() must be on the
 * stack, so that is a pointer. */
#define VERIFIED_ALONE __attribute__((noinline))

/* Where the value of an attribute is; the length is 0 where the message has none. */
typedef struct Value {
        __u32 offset, length;
} Value;

/* The messages of a send, one after the other, and the attributes of one. */
typedef struct Messages {
        const unsigned char *data; /* in the kernel */
        __u32 length;
        __u32 offset;         /* of the next message */
        __u32 attribute, end; /* of the next attribute, and of the message */
        Value name, alternative_name, group, bus, device;
        int sets_vfs;
} Messages;

/* Reads a text, up to its end or to a NUL, and clears the rest of `ret`. */
static __always_inline void read_text(const Messages *messages, const Value *value, char *ret,
                                      __u32 size) {
        __u64 room = (__u64) value->length + 1; /* with the NUL that the helper writes */

        __builtin_memset(ret, 0, size);
        /* Else the compiler compares one register and passes another, which has no bound. */
        asm volatile("" : "+r"(room));
        if (room > size)
                room = size;
        (void) bpf_probe_read_kernel_str(ret, (__u32) room, messages->data + value->offset);
}

/* Reads the next attribute's header. Returns its type, or -1 after the last. */
static __always_inline int next_attribute(Messages *messages, Value *ret) {
        struct nlattr attribute;

        if (messages->attribute + sizeof(attribute) > messages->end ||
            bpf_probe_read_kernel(&attribute, sizeof(attribute),
                                  messages->data + messages->attribute) < 0 ||
            attribute.nla_len < sizeof(attribute) ||
            messages->attribute + attribute.nla_len > messages->end)
                return -1;
        ret->offset = messages->attribute + sizeof(attribute);
        ret->length = attribute.nla_len - sizeof(attribute);
        messages->attribute += NLA_ALIGN(attribute.nla_len);
        return attribute.nla_type & NLA_TYPE_MASK;
}

/* Reads `size` bytes, header and fixed part, of the next message, and forgets the attributes of the
 * one before. Returns 0, or -1 after the last. */
static __always_inline int next_message(Messages *messages, void *message, __u32 size) {
        const unsigned char *data = messages->data + messages->offset;
        __u32 left = messages->length - messages->offset;
        struct nlmsghdr header;

        if (messages->offset >= messages->length || left < sizeof(header) ||
            bpf_probe_read_kernel(&header, sizeof(header), data) < 0 ||
            header.nlmsg_len < sizeof(header) || header.nlmsg_len > left)
                return -1;
        __builtin_memset(message, 0, size);
        if (header.nlmsg_len >= size)
                (void) bpf_probe_read_kernel(message, size, data);
        messages->attribute = messages->offset + size;
        messages->end = messages->offset + header.nlmsg_len;
        messages->offset += NLMSG_ALIGN(header.nlmsg_len);
        messages->name = messages->alternative_name = messages->group = messages->bus =
                messages->device = (Value){ 0 };
        messages->sets_vfs = 0;
        return 0;
}

static __always_inline void begin(const struct sk_buff *skb, Messages *ret) {
        ret->data = skb->data;
        ret->length = skb->len;
}

/* --- settings of VFs */

static long link_attribute(__u32 index, void *context) {
        Messages *messages = *(Messages **) context;
        Value value;
        int type = next_attribute(messages, &value);

        if (type < 0)
                return 1;
        if (type == IFLA_VFINFO_LIST || type == IFLA_VF_PORTS)
                messages->sets_vfs = 1;
        else if (type == IFLA_IFNAME)
                messages->name = value;
        else if (type == IFLA_ALT_IFNAME)
                messages->alternative_name = value;
        else if (type == IFLA_GROUP)
                messages->group = value;
        return 0;
}

/* Which interface the kernel takes for a message (rtnl_setlink(), rtnl_newlink()). Returns -1 where
 * it takes none. */
static __always_inline int meant_interface(const Messages *messages, int index,
                                           InterfaceSearch *ret) {
        const Value *name = messages->name.length ? &messages->name : &messages->alternative_name;

        if (index > 0) {
                ret->by = INTERFACE_BY_INDEX;
                ret->number = (__u32) index;
        } else if (name->length) {
                ret->by = INTERFACE_BY_NAME;
                read_text(messages, name, ret->name.text, sizeof(ret->name.text));
        } else {
                ret->by = INTERFACE_BY_GROUP;
                if (messages->group.length < sizeof(ret->number) ||
                    bpf_probe_read_kernel(&ret->number, sizeof(ret->number),
                                          messages->data + messages->group.offset) < 0)
                        return -1;
        }
        return 0;
}

typedef struct LinkMessages {
        Messages messages;
        int link;     /* the number that the last message has for its interface, or 0 */
        int too_long; /* there may be more than was looked at */
} LinkMessages;

/* Returns 1 after a message that sets VFs, and at the end. */
static long link_message(__u32 index, void *context) {
        LinkMessages *all = *(LinkMessages **) context;
        Messages *messages = &all->messages;
        struct {
                struct nlmsghdr header;
                struct ifinfomsg link;
        } message;

        if (next_message(messages, &message, sizeof(message)) < 0)
                return 1;
        if (message.header.nlmsg_type != RTM_SETLINK && message.header.nlmsg_type != RTM_NEWLINK)
                return 0;
        all->link = message.link.ifi_index;
        if (bpf_loop(STEPS_MAX, link_attribute, &messages, 0) == STEPS_MAX)
                all->too_long = 1;
        return messages->sets_vfs || all->too_long;
}

/* Goes on to the next message that sets VFs. Returns whether there is one, or may be. */
VERIFIED_ALONE int next_settings(LinkMessages *all) {
        if (!all)
                return 0;
        all->messages.sets_vfs = 0;
        if (bpf_loop(STEPS_MAX, link_message, &all, 0) == STEPS_MAX)
                all->too_long = 1;
        return all->messages.sets_vfs || all->too_long;
}

typedef struct LinkSearch {
        LinkMessages all;
        const struct net *net;
        InterfaceSearch search;
} LinkSearch;

/* The next message that sets VFs. Returns 1 at the end, and when a function is found. The first
 * search is for any function: mostly there is none, and the number of messages does not matter. */
static long link_settings(__u32 index, void *context) {
        LinkSearch *links = context;
        InterfaceSearch *search = &links->search;

        if (!next_settings(&links->all))
                return 1;
        if (index == 0 || index == SEARCHES_MAX || links->all.too_long) {
                search->by = INTERFACE_ANY;
                search_interface(search, links->net);
                if (index != 0 || links->all.too_long || search->function.text[0] == '\0')
                        return 1;
                search->function.text[0] = '\0';
        }
        if (meant_interface(&links->all.messages, links->all.link, search) < 0)
                return 0;
        search_interface(search, links->net);
        return search->function.text[0] != '\0';
}

/* The function whose VFs are in use, and to which a message gives settings of its VFs; else "". */
static __always_inline void find_vf_settings(const struct sk_buff *skb, const struct net *net,
                                             FunctionName *ret) {
        LinkSearch links;

        __builtin_memset(&links, 0, sizeof(links));
        links.net = net;
        begin(skb, &links.all.messages);
        (void) bpf_loop(SEARCHES_MAX + 1, link_settings, &links, 0);
        *ret = links.search.function;
}

/* --- devlink's restarts */

static long devlink_attribute(__u32 index, void *context) {
        Messages *messages = *(Messages **) context;
        Value value;
        int type = next_attribute(messages, &value);

        if (type < 0)
                return 1;
        if (type == DEVLINK_ATTR_BUS_NAME)
                messages->bus = value;
        else if (type == DEVLINK_ATTR_DEV_NAME)
                messages->device = value;
        return 0;
}

static long take_with_used_vfs(struct bpf_map *map, const FunctionName *name,
                               const GuardFunction *function, FunctionName *found) {
        if (!function->vfs_used)
                return 0;
        *found = *name;
        return 1;
}

typedef struct RestartMessages {
        Messages messages;
        int too_long;
        __u32 kind; /* of the last message that was looked into */
        FunctionName function;
} RestartMessages;

/* What a command does to a function and its VFs, as an event; 0 for commands that do not matter. */
static __always_inline __u32 restart_kind(__u8 command) {
        if (command == DEVLINK_CMD_RELOAD)
                return GUARD_EVENT_DEVLINK_RELOAD;
        if (command == DEVLINK_CMD_ESWITCH_SET)
                return GUARD_EVENT_DEVLINK_ESWITCH;
        if (command == DEVLINK_CMD_FLASH_UPDATE)
                return GUARD_EVENT_DEVLINK_FLASH;
        return command == DEVLINK_CMD_HEALTH_REPORTER_RECOVER ? GUARD_EVENT_DEVLINK_RECOVERY : 0;
}

/* The number of devlink's family is the running kernel's own; the address in it says enough. */
static long devlink_message(__u32 index, void *context) {
        RestartMessages *all = *(RestartMessages **) context;
        Messages *messages = &all->messages;
        struct {
                struct nlmsghdr header;
                struct genlmsghdr generic;
        } message;
        const GuardFunction *function;
        FunctionName name;
        char bus[4];
        __u32 kind;

        if (next_message(messages, &message, sizeof(message)) < 0)
                return 1;
        kind = restart_kind(message.generic.cmd);
        if (kind == 0)
                return 0;
        all->kind = kind;
        if (bpf_loop(STEPS_MAX, devlink_attribute, &messages, 0) == STEPS_MAX) {
                all->too_long = 1;
                return 1;
        }
        read_text(messages, &messages->bus, bus, sizeof(bus));
        if (bus[0] != 'p' || bus[1] != 'c' || bus[2] != 'i')
                return 0;
        read_text(messages, &messages->device, name.text, sizeof(name.text));
        function = bpf_map_lookup_elem(&functions, &name);
        if (!function || !function->vfs_used)
                return 0;
        all->function = name;
        return 1;
}

/* Goes on to the end, or to a message that has a function restarted whose VFs are in use. Returns
 * whether there may be more than was looked at. */
VERIFIED_ALONE int next_restart(RestartMessages *all) {
        if (!all)
                return 0;
        if (bpf_loop(STEPS_MAX, devlink_message, &all, 0) == STEPS_MAX)
                all->too_long = 1;
        return all->too_long;
}

/* The function whose VFs are in use, and which a message has devlink restart; else "". Returns the
 * kind of event. */
static __always_inline __u32 find_restart(const struct sk_buff *skb, FunctionName *ret) {
        RestartMessages all;

        __builtin_memset(&all, 0, sizeof(all));
        all.kind = GUARD_EVENT_DEVLINK_RELOAD;
        begin(skb, &all.messages);
        if (next_restart(&all))
                (void) bpf_for_each_map_elem(&functions, take_with_used_vfs, &all.function, 0);
        *ret = all.function;
        return all.kind;
}

/* --- ethtool's resets */

/* An offline test takes the interface down and resets the device (igb_diag_test()). */
static __always_inline int is_online_test(const char *request) {
        __u32 flags; /* of struct ethtool_test, behind the command */

        return bpf_probe_read_user(&flags, sizeof(flags), request + sizeof(__u32)) >= 0 &&
               !(flags & ETH_TEST_FL_OFFLINE);
}

/* The function whose VFs are in use, and which the request of SIOCETHTOOL resets; else "". A
 * request that cannot be read, for its page is not in memory, counts as a reset of its interface,
 * or of any of the network namespace. Returns the kind of event. */
static __always_inline __u32 find_reset(const void *argument, const struct net *net,
                                        FunctionName *ret) {
        /* The beginning of struct ifreq, which has a union of other things, too. */
        struct {
                char name[IFNAMSIZ];
                const void *data;
        } request;
        InterfaceSearch search = { .by = INTERFACE_BY_NAME };
        __u32 command = ETHTOOL_RESET;
        int mask = -1;

        if (bpf_probe_read_user(&request, sizeof(request), argument) < 0)
                search.by = INTERFACE_ANY;
        else if (bpf_probe_read_user(&command, sizeof(command), request.data) < 0)
                command = ETHTOOL_RESET;
        else if (command == ETHTOOL_TEST ? is_online_test(request.data) : command != ETHTOOL_RESET)
                return 0;
        if (bpf_probe_read_user_str(search.name.text, IFNAMSIZ, argument) < 0)
                search.by = INTERFACE_ANY;
        /* dev_ioctl() takes "eth0:1" as eth0. The mask is 0 from the colon on, without a branch. */
        for (int i = 0; i < IFNAMSIZ; i++) {
                int difference = search.name.text[i] ^ ':';

                asm volatile("" : "+r"(difference));
                mask &= (difference | -difference) >> 31;
                search.name.text[i] &= (char) mask;
        }
        search_interface(&search, net);
        *ret = search.function;
        return command == ETHTOOL_TEST ? GUARD_EVENT_ETHTOOL_TEST : GUARD_EVENT_ETHTOOL_RESET;
}
