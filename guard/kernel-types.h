/* kernel-types.h: the kernel's types, as far as the programs look into them.
 *
 * Owns no layout: the loader relocates each access by the running kernel's BTF (CO-RE), so the
 * members stand here in any order and without those that no program needs. */
#pragma once

#include <linux/types.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct super_block {
        unsigned long s_magic;
};

typedef struct {
        unsigned int val;
} kuid_t;

struct inode {
        struct super_block *i_sb;
        unsigned long i_ino;
        kuid_t i_uid;
};

struct dentry {
        struct inode *d_inode;
};

struct file {
        struct inode *f_inode;
};

struct hlist_node {
        struct hlist_node *next;
};

struct hlist_head {
        struct hlist_node *first;
};

struct iattr {
        unsigned int ia_valid;
        unsigned short ia_mode;
};

struct user_namespace {
        struct user_namespace *parent;
        int level;
        kuid_t owner;
};

/* Two numbers of 32 bits before Linux 6.3, and one of 64 since: only its place and size count. */
typedef struct {
        unsigned int low, high;
} kernel_cap_t;

struct cred {
        kuid_t euid, fsuid;
        kernel_cap_t cap_effective;
        struct user_namespace *user_ns;
};

struct net {
        struct user_namespace *user_ns;
        struct hlist_head *dev_name_head; /* NETDEV_HASHENTRIES of them */
};

struct task_struct {
        unsigned int flags;
        const struct cred *cred;
};

typedef struct {
        struct net *net;
} possible_net_t;

struct sock_common {
        possible_net_t skc_net;
};

struct sock {
        struct sock_common __sk_common;
        unsigned short sk_protocol;
};

struct socket {
        struct sock *sk;
};

struct sk_buff {
        unsigned int len;
        unsigned char *data;
};

struct kobject {
        const char *name;
};

struct device {
        struct device *parent;
        struct kobject kobj;
};

struct net_device {
        int ifindex;
        unsigned int group;
        struct device dev;
};

/* A name of an interface: its own one, or an alternative one. */
struct netdev_name_node {
        struct hlist_node hlist;
        struct net_device *dev;
        const char *name;
};

struct pci_dev {
        struct device dev;
};

#if defined(__TARGET_ARCH_x86)
struct pt_regs {
        unsigned long bx, di, si, dx, orig_ax;
};
#endif

#pragma clang attribute pop

/* Whole in no program: passed on only. */
struct mnt_idmap;
struct bpf_map;
