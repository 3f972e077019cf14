/* interface.bpf.h: which guarded function a network interface is of.
 *
 * Owns the search among the interfaces of a network namespace, in the kernel's own list: an
 * interface has alternative names (`ip link property add`), and the namespace need not be the
 * host's. Only functions whose VFs are in use are found. */
#pragma once

#include "guard/kernel-types.h"
#include "guard/maps.bpf.h"

#include <bpf/bpf_core_read.h>

/* linux/if.h takes headers of libc, which there are none of for this target. */
#define IFNAMSIZ 16
/* Alternative names have up to ALTIFNAMSIZ, 128. What is the same so far counts as the same: the
 * stack of a program has 512 bytes. */
#define INTERFACE_NAME_MAX   64
#define INTERFACE_NAME_WORDS (INTERFACE_NAME_MAX / 8)
/* include/linux/netdevice.h */
#define NETDEV_HASHENTRIES 256
/* More names than a bucket has. */
#define SEARCH_STEPS_MAX (1 << 20)

typedef enum InterfaceBy {
        INTERFACE_BY_INDEX,
        INTERFACE_BY_NAME,
        INTERFACE_BY_GROUP, /* all of a group, as `ip link set group` */
        INTERFACE_ANY,
} InterfaceBy;

/* Filled up with zeros. */
typedef union InterfaceName {
        char text[INTERFACE_NAME_MAX];
        __u64 words[INTERFACE_NAME_WORDS];
} InterfaceName;

typedef struct InterfaceSearch {
        /* What is looked for. */
        InterfaceBy by;
        __u32 number; /* the index, or the group */
        InterfaceName name;
        /* How far the search is. */
        const struct hlist_head *buckets;
        const struct hlist_node *node;
        /* "" until a function is found. */
        FunctionName function;
} InterfaceSearch;

/* Without a branch for each character, which the verifier would follow one by one. */
static __always_inline int has_name(const InterfaceSearch *search,
                                    const struct netdev_name_node *node) {
        InterfaceName name = { 0 };
        __u64 difference = 0;

        if (bpf_probe_read_kernel_str(name.text, sizeof(name.text), BPF_CORE_READ(node, name)) < 0)
                return 0;
        for (int i = 0; i < INTERFACE_NAME_WORDS; i++)
                difference |= name.words[i] ^ search->name.words[i];
        return difference == 0;
}

static __always_inline int is_meant(const InterfaceSearch *search,
                                    const struct netdev_name_node *node) {
        const struct net_device *device = BPF_CORE_READ(node, dev);

        switch (search->by) {
        case INTERFACE_BY_INDEX:
                return (__u32) BPF_CORE_READ(device, ifindex) == search->number;
        case INTERFACE_BY_NAME:
                return has_name(search, node);
        case INTERFACE_ANY:
                return 1;
        default:
                return BPF_CORE_READ(device, group) == search->number;
        }
}

/* Whether the interface is of a function whose VFs are in use; then `*ret` is which. */
static __always_inline int read_function(const struct netdev_name_node *node, FunctionName *ret) {
        const char *name = BPF_CORE_READ(node, dev, dev.parent, kobj.name);
        FunctionName function = { 0 };
        const GuardFunction *guarded;

        if (bpf_probe_read_kernel_str(function.text, sizeof(function.text), name) < 0)
                return 0;
        guarded = bpf_map_lookup_elem(&functions, &function);
        if (!guarded || !guarded->vfs_used)
                return 0;
        *ret = function;
        return 1;
}

/* One name. Returns 1 at the end. BPF_CORE_READ() gets variables only: it would have libbpf look
 * for InterfaceSearch among the kernel's types. */
static long search_step(__u32 index, void *context) {
        InterfaceSearch *search = context;
        const struct hlist_node *link = search->node;
        const struct netdev_name_node *node;

        if (!link)
                return 1;
        /* Its hlist_node is not at the beginning on each kernel. */
        node = (const void *) link - bpf_core_field_offset(struct netdev_name_node, hlist);
        search->node = BPF_CORE_READ(link, next);
        return is_meant(search, node) && read_function(node, &search->function);
}

/* The verifier tries each value of a counter that a callback keeps, but not those of `index`. */
static long search_bucket(__u32 index, void *context) {
        InterfaceSearch *search = context;
        const struct hlist_head *bucket = search->buckets + index;

        search->node = BPF_CORE_READ(bucket, first);
        (void) bpf_loop(SEARCH_STEPS_MAX, search_step, search, 0);
        return search->function.text[0] != '\0';
}

/* Looks for an interface in `net`; `search->function` is the result. What BPF_CORE_READ() has read
 * is a number to the verifier: it need not go through the buckets one by one. */
static __always_inline void search_interface(InterfaceSearch *search, const struct net *net) {
        search->buckets = BPF_CORE_READ(net, dev_name_head);
        (void) bpf_loop(NETDEV_HASHENTRIES, search_bucket, search, 0);
}
