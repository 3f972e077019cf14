/* The programs of the kernel guard. Each check is written once; it runs as an LSM program where
 * `bpf` is an active LSM, and as fmod_ret on the same hook's security_*() function elsewhere.
 *
 * What refuses, but the network's guard, reads kernel memory by typed pointers only: a kernel
 * locked down for confidentiality does not load programs that call bpf_probe_read_kernel()
 * (LOCKDOWN_BPF_READ_KERNEL). Whatever cannot be read is refused, but only where the file belongs
 * to a driver that has a guarded function: all others have no entry in `files`. */
#include "guard/interface.bpf.h"
#include "guard/kernel-types.h"
#include "guard/maps.bpf.h"
#include "guard/network.bpf.h"
#include "guard/system-call.bpf.h"
#include "policy/guard-layout.h"

#include <linux/bpf.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#define SYSFS_MAGIC    0x62656572
#define PROC_MAGIC     0x9fa0
#define MAY_WRITE      0x2
#define ATTR_MODE      0x1
#define WRITE_BITS     0222
#define CAP_FOWNER     3
#define CAP_NET_ADMIN  12
#define CAP_SYS_MODULE 16
#define CAP_SYS_RAWIO  17
#define SIOCETHTOOL    0x8946
#define EPERM          1
/* Of one in the other; see create_user_ns(). */
#define USER_NAMESPACES_MAX 34

static __always_inline void count(__u32 which) {
        __u64 *counter = bpf_map_lookup_elem(&counters, &which);

        if (counter)
                __sync_fetch_and_add(counter, 1);
}

static __always_inline int is_exempt(void) {
        return bpf_task_storage_get(&exempt, bpf_get_current_task_btf(), 0, 0) != 0;
}

/* Whether the task has the capability in its own user namespace. The low 32 bits come first in
 * kernel_cap_t on the architectures that the programs are built for, before and since Linux 6.3. */
static __always_inline int has_capability(const struct cred *cred, unsigned int capability) {
        const __u32 *effective =
                (const __u32 *) __builtin_preserve_access_index(&cred->cap_effective);

        return (*effective & (1U << capability)) != 0;
}

/* Whether it has it in the initial one. Everybody has all capabilities in one of their own. */
static __always_inline int is_capable(const struct cred *cred, unsigned int capability) {
        return cred->user_ns->level == 0 && has_capability(cred, capability);
}

/* As cap_capable(): whether it has it in `space`, which may be below its own; the owner of one has
 * all of them there. */
static __always_inline int is_capable_in(const struct cred *cred,
                                         const struct user_namespace *space,
                                         unsigned int capability) {
        for (int i = 0; i < USER_NAMESPACES_MAX; i++) {
                if (space == cred->user_ns)
                        return has_capability(cred, capability);
                if (space->level <= cred->user_ns->level)
                        return 0;
                if (space->parent == cred->user_ns && space->owner.val == cred->euid.val)
                        return 1;
                space = space->parent;
        }
        return 0;
}

/* What a hook returns. Without the barrier the compiler computes it from the number, and the
 * verifier of Linux 6.12 does not see that it is 0 or an errno. */
static __always_inline int verdict(int refused) {
        if (!refused)
                return 0;
        asm volatile("");
        return -EPERM;
}

static __always_inline const GuardSettings *current_settings(void) {
        __u32 zero = 0;

        return bpf_map_lookup_elem(&settings, &zero);
}

static __always_inline int is_refused(__u32 kind) {
        const GuardSettings *set = current_settings();

        switch (kind) {
        case GUARD_EVENT_TOLD:
        case GUARD_EVENT_PORTS:
        case GUARD_EVENT_RELEASE:
                return 0;
        case GUARD_EVENT_VF_SETTINGS:
        case GUARD_EVENT_DEVLINK_RELOAD:
        case GUARD_EVENT_DEVLINK_ESWITCH:
        case GUARD_EVENT_DEVLINK_FLASH:
        case GUARD_EVENT_DEVLINK_RECOVERY:
        case GUARD_EVENT_ETHTOOL_RESET:
        case GUARD_EVENT_ETHTOOL_TEST:
                return set && set->refuse_network;
        default:
                return set && set->refuse;
        }
}

/* Reports the deed, and returns what the hook returns. */
static __always_inline int refuse(__u32 kind, __u64 inode, const void *name, __u32 name_size) {
        int refused = is_refused(kind);
        GuardEvent *event;

        count(GUARD_COUNTER_REPORTED);
        event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
        if (!event) {
                count(GUARD_COUNTER_LOST);
                return verdict(refused);
        }
        __builtin_memset(event, 0, sizeof(*event));
        event->kind = kind;
        event->refused = refused;
        event->pid = bpf_get_current_pid_tgid() >> 32;
        event->uid = (__u32) bpf_get_current_uid_gid();
        event->inode = inode;
        event->cgroup = bpf_get_current_cgroup_id();
        bpf_get_current_comm(event->comm, sizeof(event->comm));
        if (name)
                __builtin_memcpy(event->name, name, name_size);
        bpf_ringbuf_submit(event, 0);
        return verdict(refused);
}

/* --- the checks */

/* The address in the text of a write to `unbind`, as bus_find_device_by_name() takes it: up to a
 * NUL or the line's end (sysfs_streq()). A longer text is no address. */
static __always_inline int written_name(FunctionName *ret) {
        const void *buffer;
        __u64 length;
        int ended = 0;

        if (written_buffer(&buffer, &length) < 0)
                return -1;
        if (length > sizeof(ret->text) - 1)
                length = sizeof(ret->text) - 1;
        if (bpf_probe_read_user(ret->text, (__u32) length, buffer) < 0)
                return -1;
        for (int i = 0; i < GUARD_NAME_MAX; i++) {
                if (ret->text[i] == '\n' || ret->text[i] == '\0')
                        ended = 1;
                if (ended)
                        ret->text[i] = '\0';
        }
        return 0;
}

static __always_inline int check_unbind(__u64 inode) {
        FunctionName name = { 0 };
        const GuardFunction *function;

        if (written_name(&name) < 0)
                return refuse(GUARD_EVENT_UNBIND, inode, 0, 0);
        function = bpf_map_lookup_elem(&functions, &name);
        if (!function || (function->only_used && function->released))
                return 0;
        return refuse(GUARD_EVENT_UNBIND, inode, name.text, sizeof(name.text));
}

/* On each read and write of each file: what is none of ours must leave soon. */
static __always_inline int check_write(struct file *file, int mask) {
        const GuardFile *entry;
        struct inode *inode;
        unsigned long magic;
        __u64 number;

        if (!(mask & MAY_WRITE))
                return 0;
        inode = file->f_inode;
        magic = inode->i_sb->s_magic;
        if (magic != SYSFS_MAGIC && magic != PROC_MAGIC)
                return 0;
        number = inode->i_ino;
        entry = bpf_map_lookup_elem(&files, &number);
        if (!entry || entry->in_proc != (magic == PROC_MAGIC) || is_exempt())
                return 0;
        if (entry->kind == GUARD_FILE_UNBIND)
                return check_unbind(number);
        return refuse(entry->kind == GUARD_FILE_TOLD ? GUARD_EVENT_TOLD : GUARD_EVENT_WRITE, number,
                      0, 0);
}

/* As inode_owner_or_capable(). The kernel calls the hooks of a chmod(2) before it asks that, and
 * those of fmod_ret before all others: who may not do it anyway is refused by the kernel, and must
 * not fill the journal. */
static __always_inline int may_change_mode(const struct inode *inode) {
        const struct cred *cred = bpf_get_current_task_btf()->cred;

        return cred->fsuid.val == inode->i_uid.val || is_capable(cred, CAP_FOWNER);
}

static __always_inline int check_attributes(struct dentry *dentry, struct iattr *attributes) {
        const GuardFile *entry;
        struct inode *inode;
        __u64 number;

        if (!(attributes->ia_valid & ATTR_MODE) || !(attributes->ia_mode & WRITE_BITS))
                return 0;
        inode = dentry->d_inode;
        if (!inode || inode->i_sb->s_magic != SYSFS_MAGIC)
                return 0;
        number = inode->i_ino;
        entry = bpf_map_lookup_elem(&files, &number);
        if (!entry || entry->kind != GUARD_FILE_PROTECTED || is_exempt() || !may_change_mode(inode))
                return 0;
        return refuse(GUARD_EVENT_CHMOD, number, 0, 0);
}

static long stop_at_first(struct bpf_map *map, const void *key, void *value, void *context) {
        return 1;
}

static __always_inline int check_capable(const struct cred *cred, int capability) {
        ModuleName name = { 0 };
        int found;

        if (capability == CAP_SYS_RAWIO && opens_ports() && is_capable(cred, CAP_SYS_RAWIO))
                return refuse(GUARD_EVENT_PORTS, 0, 0, 0);
        if (capability != CAP_SYS_MODULE || !is_capable(cred, CAP_SYS_MODULE))
                return 0;
        found = removed_module(name.text, sizeof(name.text));
        if (found == 0 || (found > 0 && !bpf_map_lookup_elem(&modules, &name)))
                return 0;
        /* What cannot be read is refused while any module is guarded. */
        if (found < 0 && bpf_for_each_map_elem(&modules, stop_at_first, 0, 0) <= 0)
                return 0;
        return refuse(GUARD_EVENT_MODULE, 0, name.text, sizeof(name.text));
}

/* The kernel calls the hooks before it asks that: who may not change the network anyway must not
 * fill the journal, nor be reported for what the kernel refuses. */
static __always_inline int may_change(const struct net *net) {
        return is_capable_in(bpf_get_current_task_btf()->cred, net->user_ns, CAP_NET_ADMIN);
}

/* devlink's restarts need the capability in the initial user namespace (GENL_ADMIN_PERM). */
static __always_inline int may_restart(void) {
        return is_capable(bpf_get_current_task_btf()->cred, CAP_NET_ADMIN);
}

/* Returns what the hook returns for a deed to `function`, which is "" where it concerns none. */
static __always_inline int check_network(__u32 kind, const FunctionName *function) {
        if (function->text[0] == '\0' || is_exempt())
                return 0;
        return refuse(kind, 0, function->text, sizeof(function->text));
}

static __always_inline int check_netlink(struct sock *sk, struct sk_buff *skb) {
        const struct net *net = sk->__sk_common.skc_net.net;
        FunctionName function = { 0 };
        __u32 kind;

        if (!net)
                return 0;
        if (sk->sk_protocol == NETLINK_GENERIC) {
                if (!may_restart())
                        return 0;
                kind = find_restart(skb, &function);
                return check_network(kind, &function);
        }
        if (sk->sk_protocol != NETLINK_ROUTE || !may_change(net))
                return 0;
        find_vf_settings(skb, net, &function);
        return check_network(GUARD_EVENT_VF_SETTINGS, &function);
}

/* The kernel takes the interface's name in the network namespace of the socket. */
static __always_inline int check_ioctl(struct file *file, unsigned int command,
                                       unsigned long argument) {
        const struct socket *socket;
        const struct net *net;
        FunctionName function = { 0 };
        __u32 kind;

        if (command != SIOCETHTOOL)
                return 0;
        socket = bpf_sock_from_file(file);
        net = socket && socket->sk ? socket->sk->__sk_common.skc_net.net : 0;
        if (!net || !may_change(net))
                return 0;
        kind = find_reset((const void *) argument, net, &function);
        return check_network(kind, &function);
}

/* --- the hooks. Behind the arguments stands what earlier programs returned, which is always 0:
 * none is called after one that refused (invoke_bpf_mod_ret()). */

SEC("lsm/file_permission")
int BPF_PROG(write_lsm, struct file *file, int mask) {
        return check_write(file, mask);
}

SEC("fmod_ret/security_file_permission")
int BPF_PROG(write_fmod, struct file *file, int mask) {
        return check_write(file, mask);
}

/* The hook has a third argument, before these two, since 6.4 or so; vfwarden-guard asks the
 * kernel's BTF which of the programs is its own. */
SEC("lsm/inode_setattr")
int BPF_PROG(chmod_lsm, struct mnt_idmap *idmap, struct dentry *dentry, struct iattr *attributes) {
        return check_attributes(dentry, attributes);
}

SEC("lsm/inode_setattr")
int BPF_PROG(chmod_lsm2, struct dentry *dentry, struct iattr *attributes) {
        return check_attributes(dentry, attributes);
}

SEC("fmod_ret/security_inode_setattr")
int BPF_PROG(chmod_fmod, struct mnt_idmap *idmap, struct dentry *dentry, struct iattr *attributes) {
        return check_attributes(dentry, attributes);
}

SEC("lsm/capable")
int BPF_PROG(module_lsm, const struct cred *cred, struct user_namespace *space, int capability,
             unsigned int options) {
        return check_capable(cred, capability);
}

SEC("fmod_ret/security_capable")
int BPF_PROG(module_fmod, const struct cred *cred, struct user_namespace *space, int capability,
             unsigned int options) {
        return check_capable(cred, capability);
}

SEC("lsm/netlink_send")
int BPF_PROG(netlink_lsm, struct sock *sk, struct sk_buff *skb) {
        return check_netlink(sk, skb);
}

SEC("fmod_ret/security_netlink_send")
int BPF_PROG(netlink_fmod, struct sock *sk, struct sk_buff *skb) {
        return check_netlink(sk, skb);
}

SEC("lsm/file_ioctl")
int BPF_PROG(ioctl_lsm, struct file *file, unsigned int command, unsigned long argument) {
        return check_ioctl(file, command, argument);
}

SEC("fmod_ret/security_file_ioctl")
int BPF_PROG(ioctl_fmod, struct file *file, unsigned int command, unsigned long argument) {
        return check_ioctl(file, command, argument);
}

/* --- the last close of a guarded function: vfio_pci_core_enable() and vfio_pci_core_disable() call
 * these two. Without them a function counts as used until the daemon has looked. */

static __always_inline void set_released(struct pci_dev *device, __u32 released) {
        FunctionName name = { 0 };
        GuardFunction *function;

        if (bpf_probe_read_kernel_str(name.text, sizeof(name.text), device->dev.kobj.name) < 0)
                return;
        function = bpf_map_lookup_elem(&functions, &name);
        if (function)
                function->released = released;
}

/* Who takes a driver away, also by a module's end. The kernel calls it before the `driver` link
 * goes and before it waits for a user. Of its own threads, the one of hot-plug acts for somebody
 * else: for the button, or for who has written to the slot's `power`. */
SEC("fentry/device_release_driver_internal")
int BPF_PROG(release_driver, struct device *device) {
        FunctionName name = { 0 };

        if ((bpf_get_current_task_btf()->flags & PF_KTHREAD) ||
            bpf_probe_read_kernel_str(name.text, sizeof(name.text), device->kobj.name) < 0 ||
            !bpf_map_lookup_elem(&functions, &name) || is_exempt())
                return 0;
        (void) refuse(GUARD_EVENT_RELEASE, 0, name.text, sizeof(name.text));
        return 0;
}

SEC("fentry/pci_disable_device")
int BPF_PROG(release_disable, struct pci_dev *device) {
        set_released(device, 1);
        return 0;
}

SEC("fentry/pci_enable_device")
int BPF_PROG(release_enable, struct pci_dev *device) {
        set_released(device, 0);
        return 0;
}

char LICENSE[] SEC("license") = "GPL";
